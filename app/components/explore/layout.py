"""How Explore uses the width and height of a screen.

Sizes are in rem, which grow with large type, and are those of the page's content: the sidebar may
be open or not.
"""

from __future__ import annotations

import streamlit as st

_STYLE = """<style>
.st-key-panes { container: panes / inline-size; margin-top: -0.75rem; }
[data-testid=stColumn]:has(> * .st-key-rows_and_titles_wide) { container: rows / inline-size; }
.st-key-rows_and_titles_narrow,
[data-testid=stLayoutWrapper]:has(> .st-key-rows_and_titles_narrow) { display: none; }
@container rows (max-width: 35.9rem) {
  .st-key-rows_and_titles_wide,
  [data-testid=stLayoutWrapper]:has(> .st-key-rows_and_titles_wide) { display: none; }
  .st-key-rows_and_titles_narrow,
  [data-testid=stLayoutWrapper]:has(> .st-key-rows_and_titles_narrow) { display: flex; }
}
@container panes (max-width: 57.9rem) {
  [data-testid=stHorizontalBlock]:has(> [data-testid=stColumn] .st-key-microscope) {
    gap: 0.75rem;
  }
  [data-testid=stColumn]:has(.st-key-rows_and_titles_wide) { width: 0; flex: 11 1 0; }
  [data-testid=stColumn]:has(.st-key-microscope) { width: 0; flex: 10 1 0; }
}
@container panes (max-width: 37.9rem) {
  [data-testid=stHorizontalBlock]:has(> [data-testid=stColumn] .st-key-microscope) {
    flex-direction: column;
  }
  [data-testid=stHorizontalBlock] > [data-testid=stColumn]:has(.st-key-microscope),
  [data-testid=stHorizontalBlock] > [data-testid=stColumn]:has(.st-key-rows_and_titles_wide) {
    width: 100%;
    flex: 1 1 100%;
  }
}
@container panes (min-width: 38rem) {
  [data-testid=stColumn]:has(.st-key-microscope) {
    position: sticky;
    top: 3.75rem;
    align-self: flex-start;
    max-height: calc(100vh - 4rem);
    overflow-y: auto;
  }
}
[data-testid=stLayoutWrapper]:has(> [class*=st-key-titles_]) {
  position: sticky;
  top: 3.75rem;
  z-index: 1;
  pointer-events: none;
  margin: 1.74rem 0 -5.07rem; /* the room above the titles, and that with them */
}
[class*=st-key-titles_] { height: 3.33rem; overflow: hidden; }
/* The open layer's row, over the figure: another one opens without a new figure. */
[class*=st-key-profile_] [data-testid=stPlotlyChart] {
  --rows: calc(100% - 5.07rem - 0.67rem); /* without the margins of `profile_figure` */
  position: relative;
}
[class*=st-key-profile_] [data-testid=stPlotlyChart]::after {
  content: "";
  position: absolute;
  inset-inline: 0;
  top: calc(5.07rem + var(--rows) * (var(--open) + 0.8) / (var(--layers) + 0.8));
  height: calc(var(--rows) / (var(--layers) + 0.8));
  background: color-mix(in srgb, currentcolor 14%, transparent);
  pointer-events: none;
}
/* On the full screen all rows share its height, and the names of two must not touch. */
[class*=st-key-profile_]:has([aria-label="Close fullscreen"]) .textpoint text {
  font-size: min(0.6875rem, calc((100vh - 8rem) / var(--layers) * 0.85)) !important;
}
.st-key-overview { container: overview / inline-size; }
.st-key-tiles { display: grid; grid-template-columns: 1fr 1fr; gap: 0.5rem; }
@container overview (min-width: 38rem) {
  .st-key-tiles { grid-template-columns: repeat(4, 1fr); }
}
/* Also the tile that waits for its prediction, which lies in containers of its own. */
.st-key-tiles :is([data-testid=stLayoutWrapper], [data-testid=stVerticalBlock],
    [data-testid=stElementContainer], [data-testid=stMetric]) {
  height: 100%;
}
.st-key-tiles [data-testid=stMetric] { padding: 0; }
.st-key-tiles [data-testid=stMetric] > div {
  flex-direction: row;
  flex-wrap: wrap;
  align-items: baseline;
  column-gap: 0.6rem;
  padding: 0.2rem 0.7rem;
}
.st-key-tiles [data-testid=stMetricLabel] { width: 100%; }
.st-key-tiles [data-testid=stMetricValue] { font-size: 1.2rem; line-height: 1.2; padding: 0; }
/* Four narrow tiles: small type, so that nothing wraps. */
@container overview (min-width: 38rem) and (max-width: 48rem) {
  .st-key-tiles :is([data-testid=stMetricLabel], [data-testid=stMetricDelta]) * {
    font-size: 0.72rem;
    line-height: 1.2;
  }
  .st-key-tiles [data-testid=stMetric] > div { padding: 0.1rem 0.4rem; }
}
/* One line each, so that the cards side by side align. */
[class*=st-key-pinned_] [data-testid=stCaptionContainer] p,
[class*=st-key-pinned_] [data-testid=stMarkdown] p {
  margin: 0;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}
.st-key-loops [data-testid=stTabPanel] { padding-top: 0.3rem; }
.st-key-loops [data-testid=stTabPanel] [data-testid=stVerticalBlock] { gap: 0.4rem; }
/* Its file would not say the settings, as that of the button beside the table does. */
button[aria-label^="Download as CSV"] { display: none; }
.st-key-heading h1 { padding: 0; }
[data-testid=stLayoutWrapper]:has(> .st-key-about) { flex: 1 1 min(24rem, 100%); }
@media (min-width: 641px) {
  [data-testid=stMainBlockContainer] { padding: 4.2rem 2.5rem 2.5rem; }
}
/* A low screen, or a zoomed page: smaller type above, so that rows and a diagram are in sight. */
@media (min-width: 641px) and (max-height: 640px) {
  [data-testid=stMainBlockContainer] { padding-top: 3.5rem; }
  .st-key-heading h1 { font-size: 1.25rem; }
  .st-key-overview [data-testid=stMarkdown] p { font-size: 0.875rem; line-height: 1.35; }
  .st-key-tiles [data-testid=stMetricValue] { font-size: 1rem; }
}
</style>"""


def set_layout() -> None:
    """Make the profile and the microscope fit the screen, and keep in sight what should be."""
    st.html(_STYLE)


def set_layers(count: int) -> None:
    """Say to the page's style how many rows the profile has."""
    st.html(f"<style>:root {{ --layers: {count}; }}</style>")


def set_open_row(row: int) -> None:
    """Say to the page's style which row of the profile is open, from 0."""
    st.html(f"<style>:root {{ --open: {row}; }}</style>")
