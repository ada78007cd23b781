"""Makes the reference pages that follow from the code; docs/generate.py runs it."""
