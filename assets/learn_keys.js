// Page Down and Page Up press Next and Back on the page Learn, as the keys of presenters do, wherever
// the focus is: Streamlit's own shortcuts do nothing while it is in a slider or a field.
// With { clock: true } it shows how many minutes the lesson has taken.

const BUTTONS = { PageDown: "next", PageUp: "back" };
const STARTED = "bettiscope-lesson"; // in the storage of the tab, in ms

export default function keys({ data, parentElement }) {
  const press = (event) => {
    const button = event.key in BUTTONS && document.querySelector(`.st-key-${BUTTONS[event.key]} button`);
    if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    button.click();
  };
  window.addEventListener("keydown", press, true);

  const clock = parentElement.querySelector("span") ?? parentElement.appendChild(document.createElement("span"));
  const started = Number((sessionStorage[STARTED] ??= Date.now()));
  const tell = () => {
    clock.textContent = data?.clock ? `${Math.floor((Date.now() - started) / 60000)} min` : "";
  };
  tell();
  const timer = setInterval(tell, 5000);
  return () => {
    clearInterval(timer);
    window.removeEventListener("keydown", press, true);
  };
}
