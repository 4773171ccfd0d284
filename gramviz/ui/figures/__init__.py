"""Plotly figures, one part of the page a module. The only place that knows Plotly."""
