"""How segments are made of spans."""
