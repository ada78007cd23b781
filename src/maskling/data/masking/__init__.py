"""Which tokens to predict."""
