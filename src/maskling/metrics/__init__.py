"""The numbers by which the field judges predictions, each counted as its reference does."""
