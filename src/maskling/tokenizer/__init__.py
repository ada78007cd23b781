"""Vocabularies: trained, loaded, applied and saved."""
