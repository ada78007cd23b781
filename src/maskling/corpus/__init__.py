"""Text: from the files people have to clean documents and their sentences."""
