"""How many images a second the data's side gives, on one core, and how many a training needs.

Preparing: photographs of 500 × 375 pixels are read, decoded, cut and written, as stage `prepare` does. Reading: batches
of 256 × 256 images come from the page cache, read ahead, and become numbers, as a step of training has them; what the
step does with them is left out. Storing: digests, which are computed of large files once per machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mimflow.artifacts.manifest import sha256_of
from mimflow.data.decode import decode
from mimflow.data.prepared import Split
from mimflow.data.spec import Augment, Transform
from mimflow.data.transforms import cut
from mimflow.products.registry import open_workspace
from mimflow.system.modules import SystemModules, parameter_count
from mimflow.system.spec import Shapes
from mimflow.training.batches import Shuffled

IMAGENET = 1_281_167
TRANSFORM = Transform(size=256, method="adm")
GPUS, SUSTAINED = 8, 400e12
"""Devices of a training, and operations a second of each: two fifths of an H100's 989e12 in bf16, which is much."""


@dataclass(frozen=True)
class Speed:
    """So much was done in so many seconds."""

    what: str
    unit: str
    per_second: float

    def __str__(self) -> str:
        return f"{self.what}: {self.per_second:,.0f} {self.unit}/s"


def timed(what: str, unit: str, amount: float, work: Callable[[], object]) -> Speed:
    began = time.perf_counter()
    work()
    return Speed(what, unit, amount / (time.perf_counter() - began))


def photograph(seed: int) -> bytes:
    """A JPEG as large as ImageNet's are on average: 500 × 375 pixels, about 110 kB."""
    random = np.random.default_rng(seed)
    rough = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
    noisy = np.asarray(rough).astype(np.int16) + random.integers(-14, 15, (375, 500, 3))
    stream = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def prepare(count: int) -> Speed:
    """Decoding and cutting, without the disk."""
    files = [photograph(seed) for seed in range(8)]

    def work() -> None:
        for index in range(count):
            cut(decode(files[index % len(files)], 3, TRANSFORM), TRANSFORM)

    return timed("prepare", "images", count, work)


def read(folder: Path, images: int, batch: int, steps: int) -> list[Speed]:
    """Batches as a step has them: with the rows alone, and with all that becomes of them on the CPU."""
    path = folder / "images.npy"
    np.save(path, np.zeros((images, 256, 256, 3), np.uint8))
    split = Split(np.load(path, mmap_mode="r"), np.zeros(images, np.int64))
    cpu = torch.device("cpu")
    batches = Shuffled(split, batch, 1, Augment(flip=True), 0, cpu)
    indices = [np.random.default_rng(step).permutation(images)[:batch] for step in range(steps)]

    def rows() -> None:
        for chosen in indices:
            np.take(split.images, chosen, axis=0)

    def whole() -> None:
        for step in range(steps):
            batches.part(step, 0)

    rows()  # into the page cache
    return [
        timed("rows, as they go to a device", "images", batch * steps, rows),
        timed("batches, made numbers and mirrored on the CPU", "images", batch * steps, whole),
        timed("digests", "MB", path.stat().st_size / 1e6, lambda: sha256_of(path)),
    ]


def most_images(name: str) -> float:
    """Images a second that a run's training can take on `GPUS` devices, if it is nothing but its prior.

    Six operations a parameter and token, of a forward and a backward pass; attention over tokens, tokenizer and what
    judges images come on top, and make it fewer.
    """
    workspace = open_workspace(Path(__file__).resolve().parent.parent)
    run = workspace.runs[name].spec
    image = Shapes.of(workspace.datasets[run.dataset].spec)
    with torch.device("meta"):
        prior = SystemModules(run.system, image).module("prior")
    assert run.tokenizer is not None
    tokens = run.tokenizer.latent_shape(image.image).tokens
    return GPUS * SUSTAINED / (6 * parameter_count(prior) * tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000, help="images of 256 × 256 to read from")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--photographs", type=int, default=200, help="photographs to prepare")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        speeds = [
            prepare(arguments.photographs),
            *read(Path(folder), arguments.images, arguments.batch, arguments.steps),
        ]
    print("on one core:")
    for speed in speeds:
        print(f"  {speed}")
    print(f"ImageNet is prepared in {IMAGENET / speeds[0].per_second / 3600:.1f} core-hours")
    for name in ("mimflow-l", "simflow-l", "tarflow-imagenet64-cond"):
        need = most_images(name)
        print(
            f"{name} on {GPUS} GPUs: at most {need:,.0f} images/s, {need / speeds[1].per_second:.1f} cores of reading"
        )


if __name__ == "__main__":
    main()
