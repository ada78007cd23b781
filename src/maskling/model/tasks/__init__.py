"""Encoders with a task head: classification, multi-label, regression, tagging (NER/POS) or question answering."""
