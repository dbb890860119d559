"""What a page of claims names, and what a claim names."""

from __future__ import annotations

from collections.abc import Iterator

from mimflow.products.claims.spec import ClaimsSpec
from mimflow.project.workspace import Loaded, Workspace


def check_claims(workspace: Workspace, loaded: Loaded[ClaimsSpec]) -> Iterator[str]:
    """A line for every claim that there is not."""
    for index, name in enumerate(loaded.spec.claims or []):
        yield from workspace.unknown(loaded, ("claims", index), "claim", name)
