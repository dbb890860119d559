"""Files that the user brings: named in a spec by path and digest."""

from __future__ import annotations

from pathlib import Path

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.spec.weights import FileWeights


def given_file(weights: FileWeights, what: str) -> Path:
    """The path of the file that a spec names, once its digest has been found to be the spec's.

    ArtifactError says what is missing and where it goes, or that another file is there. `what` names it for people.
    """
    path = Path(weights.file).expanduser()
    if not path.is_file():
        raise ArtifactError(f"{path}: missing: put {what} there, SHA-256 {weights.sha256}")
    found = sha256_of(path)
    if found != weights.sha256:
        raise ArtifactError(f"{path}: SHA-256 {found}, the spec says {weights.sha256} (another file, or a changed one)")
    return path
