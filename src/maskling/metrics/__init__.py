"""Metrics of predictions, each computed as its reference implementation does."""
