"""The specs of references: what images are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.spec.base import Count, Problem, Spec
from mimflow.spec.weights import FileWeights

Part = Literal["statistics", "features", "images", "originals"]
"""What a metric compares images with. `statistics`: mean and covariance of the reference's features; `features`: these
themselves, of each of its images; `images`: the split's images; `originals`: of each image the one that it was made
from."""


class ReferenceSpec(Spec):
    """Base of the reference axis."""

    gives: ClassVar[tuple[Part, ...]]
    """The parts that it has."""

    kind: str

    @property
    def words(self) -> str:
        """What it is, in words, without the number of its images."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What tells it from a protocol's others, in names of jobs."""
        raise NotImplementedError


class SplitReferenceSpec(ReferenceSpec):
    """Images of the protocol's data set: what a reference without a `kind` is."""

    gives: ClassVar[tuple[Part, ...]] = ("statistics", "features", "images")

    kind: Literal["split"] = "split"
    split: Literal["train", "val"] = "train"
    count: Count | None = None
    """Only the first so many images of a seeded permutation are compared with; not given: all."""
    mirror: bool = False
    """Whether each of them is mirrored left to right or not, by a seeded coin, as where TARFlow's and iTARFlow's code
    takes its statistics; the ADM evaluator's references are not."""

    @property
    def words(self) -> str:
        return f"{self.split} split{', mirrored by a coin' if self.mirror else ''}"

    @property
    def name(self) -> str:
        count = [] if self.count is None else [str(self.count)]
        return "-".join([self.split, *count, *(["mirrored"] if self.mirror else [])])


class ArchiveReferenceSpec(ReferenceSpec):
    """Base of the references that are files of the user's."""

    archive: FileWeights
    """The file, an `.npz`: a name of `specs/weights`, or path and digest."""

    @property
    def words(self) -> str:
        name = self.archive.name or self.archive.file.rpartition("/")[2]
        digest = f"SHA-256 {self.archive.sha256[:12]}…" if self.archive.sha256 else "its digest not written down yet"
        return f"{name} ({digest})"

    @property
    def name(self) -> str:
        return f"{self.kind}-{(self.archive.sha256 or 'unknown')[:8]}"

    def problems(self) -> Iterator[Problem]:
        if self.archive.modules is not None:
            yield Problem(("archive", "modules"), "an archive of a reference has no modules", "leave it out")


class ImagesReferenceSpec(ArchiveReferenceSpec):
    """Images in a file, as the ADM evaluator takes them: `arr_0`, uint8 (N, H, W, C).

    Of ADM's own files, which also hold statistics of other images, these are the 10,000 images that precision and
    recall are measured against.
    """

    gives: ClassVar[tuple[Part, ...]] = ("statistics", "features")

    kind: Literal["images"] = "images"

    @property
    def words(self) -> str:
        return f"images of {super().words}"


class StatisticsReferenceSpec(ArchiveReferenceSpec):
    """Mean and covariance of features in a file: `mu` and `sigma`, and `mu_s` and `sigma_s` of spatial features where
    the sFID is asked for.

    ADM's files are so, and those that pytorch-fid and torch-fidelity write; the extractor has to be the one that they
    were made with, which nothing in them says.
    """

    gives: ClassVar[tuple[Part, ...]] = ("statistics",)

    kind: Literal["statistics"] = "statistics"
    of: Annotated[str, Field(min_length=1)] | None = None
    """What the file's statistics are of, in words, for the lines under tables: `the 1,281,167 training images`."""

    @property
    def words(self) -> str:
        return f"statistics of {super().words}{f', of {self.of}' if self.of else ''}"
