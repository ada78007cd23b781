"""What learns."""

from __future__ import annotations


# FOLDED DOCS
# [__init__] Each model, top to bottom, in one file.
