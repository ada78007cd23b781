"""Training: runs, tasks, optimizer steps, checkpoints and ranks."""
