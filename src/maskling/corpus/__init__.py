"""Corpus: read files of many formats, and turn them into clean documents split into sentences."""
