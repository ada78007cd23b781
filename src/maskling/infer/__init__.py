"""Inference with trained models: fill, embed, search, score, generate, predict and attention maps."""
