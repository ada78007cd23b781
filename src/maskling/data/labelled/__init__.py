"""Labelled data: read, checked, encoded, and packed into batches."""
