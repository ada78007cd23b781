"""Losses of pretraining and of sentence encoders, and the metrics of masked-token prediction."""
