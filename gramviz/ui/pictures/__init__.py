"""Picture files by Matplotlib: PNG, SVG or PDF for model cards and papers, without a browser.

The page draws with Plotly, which needs a browser to write a file. This is the only place that knows Matplotlib.
"""
