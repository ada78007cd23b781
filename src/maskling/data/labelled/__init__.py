"""Labelled text: read, checked, encoded, and packed into batches."""
