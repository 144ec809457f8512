"""Accuracy beside tuned peers, on many data sets: ``python -m benchmarks --parts accuracy``."""
