"""One tab or section of the page a module."""
