"""Wikitext, the markup of MediaWiki, to the prose that a reader keeps: `prose.py` is the way in."""
