"""Reading prepared data, and finding out whether its sources are still those that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mimflow.artifacts.data import DataFacts, SourceFile, open_images, read_labels, read_sources
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.data.sources.base import SPLITS
from mimflow.data.sources.folder import ImageFolder, folder_of, stamp
from mimflow.data.sources.spec import ImageFolderSpec

CLOCK_NS = 2 * 10**9
"""How much coarser than the system's clock a file system's may be."""


@dataclass(frozen=True)
class Split:
    """Images, uint8 (N, H, W, C), mapped from the file and read when indexed; labels, int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What frozen networks make of the images: (N, places, channels) by the network's name, mapped like the images."""
    latents: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What a frozen tokenizer makes of them, read in their place: `mean` and perhaps `spread`, each
    (N, 2, tokens, channels), of the image and of its mirror image."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Prepared:
    """A data set that stage `prepare` has written."""

    artifact: Artifact

    @classmethod
    def open(cls, artifact: Artifact) -> Prepared:
        return cls(artifact)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, by label."""
        return read_facts(self.artifact, DataFacts).classes

    def split(self, name: str) -> Split:
        """`train` or `val`. ArtifactError if its files are not what the manifest says."""
        if name not in SPLITS:
            raise ValueError(f"no split '{name}': {' and '.join(SPLITS)}")
        return Split(open_images(self.artifact, name), read_labels(self.artifact, name))


def touched(artifact: Artifact, stamps: Iterable[tuple[str, int, int]]) -> bool:
    """Whether any file, of `ImageFolder.stamps`, was touched since the folder was listed to be prepared."""
    since = (read_facts(artifact, DataFacts).sources_listed_ns or 0) - CLOCK_NS
    return any(changed > since for _, _, changed in stamps)


def changed_sources(artifact: Artifact, source: ImageFolderSpec) -> list[str]:
    """The images changed, removed or added since the folder was prepared: relative paths, sorted.

    A file is read again only if its size is the recorded one and it was touched after it was recorded.
    None if the whole folder is gone: what was prepared is all that is needed.
    """
    root = folder_of(source)
    if not root.is_dir():
        return []
    facts = read_facts(artifact, DataFacts)
    recorded = read_sources(artifact)
    present = set(ImageFolder(source).names(by_split=facts.split == "folders"))
    changed = present.symmetric_difference(recorded)
    since = (facts.sources_listed_ns or 0) - CLOCK_NS
    for name in present & recorded.keys():
        if _differs(root / name, recorded[name], since):
            changed.add(name)
    return sorted(changed)


def _differs(path: Path, recorded: SourceFile, since: int) -> bool:
    size, changed = stamp(path)
    if size != recorded.size:
        return True
    if changed <= since:
        return False
    try:
        return sha256_of(path) != recorded.sha256
    except OSError:
        # One that could not be read when it was prepared either was recorded without a digest.
        return recorded.sha256 != ""
