"""The entry of the dashboard: page configuration, the shared sidebar, the pages."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.cache import WARM_AFTER, jobs, run_queue
from app.components.shared.links import drop_infinite_numbers, report_replaced
from app.components.shared.saving import keep_figure_choices
from app.components.sidebar.sidebar import render_sidebar
from app.state import is_large, session
from app.theme import BASE_FONT_SIZE, LARGE

ICON = Path(__file__).resolve().parent.parent / "assets" / "icon.svg"
# On a narrow screen the text of a tile wraps. Streamlit's own Stop, in the header, ends the drawing
# of a page and would stand above the Stop of a run. Its colour for the button of an open popover
# and for selected options is too dark on a dark page.
STYLE = """<style>
[data-testid=stMetric] :is([data-testid=stMetricLabel], [data-testid=stMetricDelta]) * {
  white-space: normal;
}
[data-testid=stStatusWidget] button {
  display: none;
}
[data-testid=stPopover] button[aria-expanded=true],
[data-testid=stButtonGroup] [role] button[data-selected=true][data-variant],
[data-testid=stTabs] [role=tab][aria-selected=true] {
  color: inherit;
}
/* Also where Streamlit shows the focus by a faint shadow only. */
:is(button, a, input, textarea, summary, [role=tab], [role=slider], [tabindex="0"]):focus-visible,
:is([data-testid=stToggle], [data-testid=stCheckbox]) label:has(:focus-visible) {
  outline: 2px solid #10857b !important;
  outline-offset: 2px;
}
/* The keyboard reaches a control before the help icon in its label. */
:is([data-testid=stSelectbox], [data-testid=stMultiSelect], [data-testid=stNumberInput],
    [data-testid=stTextInput], [data-testid=stSlider], [data-testid=stButtonGroup]) {
  reading-flow: source-order;
}
[data-testid=stWidgetLabel] { reading-order: 1; }
/* Numbers that a late rerun will replace look old at once. */
[data-testid=stElementContainer][data-stale=true] {
  opacity: 0.45 !important;
  transition: opacity 0.1s ease-in 0.4s !important;
}
</style>"""
LARGE_STYLE = f"<style>html {{ font-size: {BASE_FONT_SIZE * LARGE:g}px !important; }}</style>"

st.set_page_config(page_title="BettiScope", page_icon=str(ICON), layout="wide")
st.html(STYLE)
page = st.navigation(
    [
        st.Page("views/explore.py", title="Explore", default=True),
        st.Page("views/compare.py", title="Compare", url_path="compare"),
        st.Page("views/finetune.py", title="Fine-tune", url_path="finetune"),
        st.Page("views/runs.py", title="Runs", url_path="runs"),
        st.Page("views/grid.py", title="Grid", url_path="grid"),
        st.Page("views/learn.py", title="Learn", url_path="learn"),
    ],
    position="top",  # which leaves the sidebar to the controls
)
# Once the page is drawn: the start of a worker takes a core for seconds. Fine-tune is drawn soon,
# and its Start may be clicked soon.
jobs().warm(WARM_AFTER / 5 if page.url_path == "finetune" else WARM_AFTER)
drop_infinite_numbers()
keep_figure_choices()
st.session_state["controls"] = render_sidebar()
report_replaced()
if is_large():
    st.html(LARGE_STYLE)
if session().analysis.is_new_request and page.url_path in (
    "runs",
    "grid",
):  # which show no analysis
    # An empty dictionary: without one Streamlit refuses, as widgets are bound to the URL.
    st.switch_page("views/explore.py", query_params={})
page.run()
report_replaced()
run_queue()  # continues with queued runs
