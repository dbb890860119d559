"""What comes along with the package: specs that others may extend by name, the workflow's rules, profiles."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
"""The folder that holds them, as a project does: links to the repository's own in a checkout, files in a wheel."""
SPECS = SHIPPED / "specs"
