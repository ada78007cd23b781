"""One reader for each kind of file, and the table that picks one by suffix."""
