"""What MkDocs adds to the pages of this folder: the first page, and the fields of every kind of spec."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from mimflow.products.registry import PRODUCTS
from mimflow.project.fields import reference
from mimflow.project.workspace import KINDS

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md")
"""Pages of the repository's that lie beside this folder."""


def on_files(files: Files, config: Any) -> Files:
    """Add pages that are made: README is the first, and each kind of spec has one of its fields."""
    pages = {"index.md": _within((ROOT / "README.md").read_text(encoding="utf-8"))}
    pages |= {name: _within((ROOT / name).read_text(encoding="utf-8")) for name in BESIDE}
    pages |= {f"fields/{name}.md": text for name, text in reference((*KINDS, *PRODUCTS))}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def _within(text: str) -> str:
    """A page of the repository's as one of the site's: links to pages lead to them, links to other files to nothing."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|#)(?![^)]*\.(?:md|png)(?:#[^)]*)?\))[^)]*\)", r"`\1`", text)
