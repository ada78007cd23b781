"""What leaves, and that it is what it says."""
