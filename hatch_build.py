"""Metadata that follows from the public address of the project: the links of the README, and the project's URLs.

The README links to files of the repository, so that it reads well in a clone. On a package index these links would be
dead: here they become absolute links to the tag of the version. The address is written once, in pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

IMAGE = re.compile(r"(!\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)\)")
# The text of a link may be an image.
LINK = re.compile(r"((?<!!)\[(?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*\]\()(?![a-z]+:|#)([^)\s]+)\)")


def with_absolute_links(text: str, repository: str, version: str) -> str:
    """Return Markdown whose relative links and images point into a repository, at the tag of a version."""
    text = IMAGE.sub(rf"\1{repository}/raw/v{version}/\2)", text)
    return LINK.sub(rf"\1{repository}/blob/v{version}/\2)", text)


class Metadata(MetadataHookInterface):
    """Fill in `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the two entries to the project's metadata."""
        repository = self.config["repository"].rstrip("/")
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(readme, repository, metadata["version"]),
        }
        metadata["urls"] = {
            "Repository": repository,
            "Documentation": f"{repository}/blob/v{metadata['version']}/docs/index.md",
            "Changelog": f"{repository}/blob/v{metadata['version']}/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
