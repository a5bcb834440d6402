// Page Down and Page Up press Next and Back on the page Learn, wherever the focus is: Streamlit's
// own shortcuts do nothing while it is in a slider or a field, and these are the keys of presenters.

const BUTTONS = { PageDown: "next", PageUp: "back" };

export default function keys() {
  const press = (event) => {
    const button = event.key in BUTTONS && document.querySelector(`.st-key-${BUTTONS[event.key]} button`);
    if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    button.click();
  };
  window.addEventListener("keydown", press, true);
  return () => window.removeEventListener("keydown", press, true);
}
