"""Pure mathematics of patch features: tensors in, tensors out; no files, no models, no page."""
