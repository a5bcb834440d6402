"""Pure functions from arrays to Plotly figures, one module a subject."""
