"""The classes of samples."""

from __future__ import annotations

import numpy as np

from mimflow.outputs.base import Setting
from mimflow.outputs.drawing import Samples
from mimflow.priors.base import NULL_CLASS
from mimflow.seeds import derive


def draw_labels(setting: Setting) -> np.ndarray:
    """The classes (N,) to draw, in random order: consecutive samples are a mix of classes.

    `NULL_CLASS` throughout where the prior takes none.
    """
    samples, prior = setting.drawing, setting.modules.spec.prior
    assert isinstance(samples, Samples)
    count, classes = samples.count, setting.shapes.num_classes
    if prior is not None and not prior.takes_classes:
        return np.full(count, NULL_CLASS, np.int64)
    random = np.random.default_rng(derive(setting.seed, samples.seed, "labels"))
    if samples.labels == "uniform":
        return random.integers(classes, size=count)
    each = np.repeat(np.arange(classes), count // classes)
    rest = random.permutation(classes)[: count % classes]
    return random.permutation(np.concatenate([each, rest]))
