"""Where a reference's images or statistics come from: prepared data, or files that the user brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimflow.artifacts.archives import kept, read_array, read_headers
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.reference import MOMENTS, SPATIAL_MOMENTS, Gaussian
from mimflow.data.prepared import Prepared
from mimflow.errors import ArtifactError, SpecError
from mimflow.metrics.images import ArchiveImages, ArrayImages
from mimflow.metrics.reference.spec import ImagesReferenceSpec, SplitReferenceSpec, StatisticsReferenceSpec
from mimflow.seeds import derive
from mimflow.system.spec import Shapes
from mimflow.weights.given import given_file


@dataclass(frozen=True)
class GivenStatistics:
    """Statistics that a file gives: of pooled features, and of spatial ones where it has them."""

    pooled: Gaussian
    spatial: Gaussian | None


def split_images(spec: SplitReferenceSpec, data: Artifact | None, shapes: Shapes) -> ArrayImages:
    """The images of a split: all of them, or the first of a permutation.

    SpecError if more are asked for than there are, ArtifactError for images of another shape.
    """
    assert data is not None, "the plan hands the data over"
    images = Prepared.open(data).split(spec.split).images
    check_shape(images, data, "reference images", shapes)
    places = None
    if spec.count is not None:
        if spec.count > len(images):
            raise SpecError(
                f"reference.count: {spec.count} images, split '{spec.split}' of {data.manifest.name} "
                f"has {len(images)} (leave it out to take them all)"
            )
        places = np.random.default_rng(derive("reference", spec.split)).permutation(len(images))[: spec.count]
    count = len(images) if places is None else len(places)
    mirrored = np.random.default_rng(derive("mirror", spec.split)).random(count) < 0.5 if spec.mirror else None
    return ArrayImages(images, places, mirrored)


def given_images(spec: ImagesReferenceSpec, data: Artifact | None, shapes: Shapes) -> ArchiveImages:
    """The images of a file. ArtifactError if it is missing, has another digest, or holds something else."""
    return ArchiveImages(given_file(spec.archive, "reference images"), shapes, "the protocol's images")


def given_statistics(spec: StatisticsReferenceSpec, data: Artifact | None, shapes: Shapes) -> GivenStatistics:
    """The statistics of a file. ArtifactError as above, and for a mean and a covariance that do not fit together."""
    path = given_file(spec.archive, "reference statistics")
    pooled, spatial = (_gaussian(path, names) for names in (MOMENTS, SPATIAL_MOMENTS))
    if pooled is None:
        raise ArtifactError(
            f"{path}: no {' and '.join(MOMENTS)}, it holds {kept(read_headers(path))} "
            "(of images: a reference of kind images)"
        )
    return GivenStatistics(pooled, spatial)


def _gaussian(path: Path, names: tuple[str, str]) -> Gaussian | None:
    headers = read_headers(path)
    if not set(names) <= set(headers):
        return None
    mean, covariance = (headers[name] for name in names)
    width = mean.shape[0] if len(mean.shape) == 1 else None
    if covariance.shape != (width, width) or {mean.dtype.kind, covariance.dtype.kind} != {"f"}:
        raise ArtifactError(
            f"{path}: {names[0]} is {mean} and {names[1]} {covariance} "
            "(wanted floating numbers: a mean F and a covariance F×F)"
        )
    mu, sigma = (read_array(path, name).astype(np.float64) for name in names)
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ArtifactError(f"{path}: {' or '.join(names)} is not finite (compute it again)")
    return Gaussian(mu, sigma)


def check_shape(images: np.ndarray, artifact: Artifact, what: str, shapes: Shapes) -> None:
    """ArtifactError for images (N, H, W, C) of an artifact that are not uint8 of the shapes."""
    wanted = (shapes.size, shapes.size, shapes.channels)
    if images.shape[1:] != wanted or images.dtype != np.uint8:
        raise ArtifactError(
            f"{artifact.folder}: {what} are {images.dtype} {'×'.join(map(str, images.shape[1:]))}, "
            f"the protocol's are uint8 {'×'.join(map(str, wanted))} (height × width × channels)"
        )
