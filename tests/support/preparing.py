"""Folders of crops of photographs, prepared here or in a process that is killed."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from artifacts import store_artifact
from PIL import Image

from mimflow.artifacts.data import DataFacts
from mimflow.artifacts.manifest import Artifact
from mimflow.data import shards
from mimflow.data.spec import DatasetSpec
from mimflow.progress import Progress
from mimflow.stages.prepare import run
from mimflow.tasks import PrepareTask

PHOTOGRAPHS = {"astronaut": skimage.data.astronaut(), "chelsea": skimage.data.chelsea()}
REPOSITORY = Path(__file__).parents[2]
PREPARE = "from preparing import main; main()"


def crops(photograph: np.ndarray, count: int) -> Iterator[Image.Image]:
    """Crops of 40×32 pixels that don't overlap."""
    across = photograph.shape[1] // 40
    for index in range(count):
        top, left = 32 * (index // across), 40 * (index % across)
        yield Image.fromarray(photograph[top : top + 32, left : left + 40])


def write_crops(root: Path) -> None:
    """Two classes, 9 images each in train and 3 in val, half of them PNG and half JPEG."""
    for name, photograph in PHOTOGRAPHS.items():
        for index, image in enumerate(crops(photograph, 12)):
            split = "train" if index < 9 else "val"
            kind = "png" if index % 2 else "jpg"
            (root / split / name).mkdir(parents=True, exist_ok=True)
            image.save(root / split / name / f"{index:02}.{kind}")


def dataset(path: Path, *, on_bad: str = "fail", **changes: Any) -> DatasetSpec:
    spec = {
        "source": {"kind": "image_folder", "path": str(path), "on_bad": on_bad},
        "transform": {"size": 16, "method": "adm"},
        "split": {"kind": "folders"},
        "channels": 3,
        "num_classes": 2,
        "workers": 1,
    }
    return DatasetSpec.model_validate(spec | changes)


def prepare(spec: DatasetSpec, work: Path, said: StringIO | None = None) -> DataFacts:
    return run(PrepareTask(dataset=spec), {}, work, Progress("test", stream=said or StringIO()))


def files(folder: Path) -> dict[str, str]:
    """The digest of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def artifact(spec: DatasetSpec, work: Path) -> Artifact:
    facts = prepare(spec, work)
    return store_artifact(work / "out", stage="prepare", name="photographs", facts=facts)


def main() -> None:
    """Prepare in a process of its own: `path work workers images-per-shard stop-after`."""
    path, work = (Path(argument) for argument in sys.argv[1:3])
    count, shards.SHARD_IMAGES, stop = map(int, sys.argv[3:])
    progress = Progress("test")
    advance = progress.advance

    def until_killed(done: int, *arguments: Any, **shown: Any) -> None:
        advance(done, *arguments, **shown)
        if done >= stop:
            os.kill(os.getpid(), signal.SIGKILL)

    progress.advance = until_killed  # type: ignore[method-assign]
    run(PrepareTask(dataset=dataset(path, workers=count)), {}, work, progress)


def killed(path: Path, work: Path, count: int, images: int, stop: int) -> None:
    """Prepare in another process, that is killed once so many images are done.

    Its output is read to the end, which comes only when its workers have ended as well.
    """
    command = [sys.executable, "-c", PREPARE, str(path), str(work), str(count), str(images), str(stop)]
    places = os.pathsep.join(map(str, [REPOSITORY, Path(__file__).parent]))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])
