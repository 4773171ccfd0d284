"""Weights on disk: the one door for their bytes, and the manifest that says where each comes from."""
