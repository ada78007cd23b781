"""Each model, top to bottom, in one file."""
