"""Runs as a page of charts, in one file."""
