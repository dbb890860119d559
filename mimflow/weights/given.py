"""Files that the user brings: named in a spec by path and digest."""

from __future__ import annotations

from pathlib import Path

from mimflow.artifacts.manifest import sha256_of
from mimflow.artifacts.verified import has_digest
from mimflow.errors import ArtifactError
from mimflow.spec.weights import FileWeights


def given_file(weights: FileWeights, what: str) -> Path:
    """The path of the file that a spec names, once its digest has been found to be the spec's.

    ArtifactError says what is missing and where it goes, that another file is there, or that the spec has no digest
    yet. `what` names it for people.
    """
    try:
        path = Path(weights.file).expanduser()
    except RuntimeError as error:
        raise ArtifactError(f"{weights.file}: there is no such home (write the path out)") from error
    if not path.is_file():
        known = f", SHA-256 {weights.sha256}" if weights.sha256 is not None else ""
        raise ArtifactError(f"{path}: missing: put {what} there{known}{_listed(weights)}")
    if weights.sha256 is None:
        found = sha256_of(path)
        where = f"specs/weights/{weights.name}.yaml" if weights.name is not None else "the spec that names it"
        raise ArtifactError(
            f"{path}: its digest is not written down yet (if it is the right file, write sha256: {found} in {where})"
        )
    whole, found = has_digest(path, weights.sha256)
    if not whole:
        raise ArtifactError(f"{path}: SHA-256 {found}, the spec says {weights.sha256} (another file, or a changed one)")
    return path


def _listed(weights: FileWeights) -> str:
    return " (`mimflow weights` tells where it is published)" if weights.name is not None else ""
