"""Generator of the reference pages that follow from the code; run by docs/generate.py."""
