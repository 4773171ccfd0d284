"""Inputs that nobody should send, made from a seed: images, archives, weights, values of the page, names."""
