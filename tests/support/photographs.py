"""Folders of real photographs in ImageNet's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

PHOTOGRAPHS = {"astronaut": "png", "chelsea": "jpg", "coffee": "jpg"}
CROP = 48


def write_photographs(folder: Path, train: int, val: int) -> None:
    """ImageNet's layout, one class a photograph: crops as PNG or JPEG, validation from the lower part."""
    for name, suffix in PHOTOGRAPHS.items():
        image = Image.fromarray(getattr(skimage.data, name)())
        random = np.random.default_rng(len(name))
        for split, count, top in (("train", train, 0), ("val", val, 200)):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                left, upper = int(random.integers(image.width - CROP)), top + int(random.integers(100 - CROP))
                crop = image.crop((left, upper, left + CROP, upper + CROP))
                crop.save(folder / split / name / f"{index:03}.{suffix}")
