"""Named settings, each number with its source."""
