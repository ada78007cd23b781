"""What `prepare` is made of: a stage a file, and what the stages share."""

from __future__ import annotations
