"""Evaluate models: held-out loss, minimal pairs, and comparisons on the same text."""
