"""A pretrained encoder put to a task of its own: classes, scores, tags, answers, vectors."""
