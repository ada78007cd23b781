"""A model behind HTTP, and a page to play with it. Needs the extra `serve`."""
