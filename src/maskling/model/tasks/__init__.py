"""Encoders with a head for a task: labels for texts, tags for tokens, the place of an answer."""
