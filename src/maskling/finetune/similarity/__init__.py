"""An encoder trained to give vectors: what it learns from, how, and how it is judged."""
