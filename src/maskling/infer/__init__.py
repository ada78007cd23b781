"""A model put to use."""
