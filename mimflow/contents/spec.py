"""The spec of samples that were made elsewhere."""

from __future__ import annotations

from typing import Annotated

from mimflow.spec.base import OUTSIDE_KEY, FilePath, Sha256, Spec


class GivenFile(Spec):
    """A file of the user's, by path and digest."""

    file: Annotated[FilePath, OUTSIDE_KEY]
    """Path of the file, relative to the project."""
    sha256: Sha256
    """Its SHA-256: another file is refused."""


class GivenSamples(Spec):
    """Samples that were made elsewhere: an `.npz` with `arr_0`, uint8 (N, H, W, C), and the classes `arr_1` (N,) if
    they are known, or a folder of images, whose subfolders may be classes.
    """

    label: Annotated[str, OUTSIDE_KEY] = ""
    """What tables call them; not given: the file's name."""
    file: Annotated[FilePath, OUTSIDE_KEY]
    """Path of the file or folder, relative to the project."""
    sha256: Sha256 | None
    """Its SHA-256, of a folder that of its images' names and digests; null: not known yet, and jobs, which tell it, are
    refused until it is."""
    labels: GivenFile | None = None
    """The classes, where the samples do not say them: an array (N,) as `.npy`, or a text of a number a line, in the
    order of the images, a folder's sorted by name."""

    @property
    def name(self) -> str:
        """What they are called."""
        return self.label or self.file.rstrip("/").rpartition("/")[2]
