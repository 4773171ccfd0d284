"""Concurrency, devices and memory: the one place that decides when and where something is computed."""
