"""Tokenizers: train, load, extend, apply and save subword vocabularies."""
