"""The numbers of the ADM evaluator (guided-diffusion's), from features on, against a recording of its own code.

`recordings/adm_evaluator_reference.npz` has random features and logits, and what the public code makes of them; the
Inception before them was not run.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mimflow.artifacts.reference import Gaussian
from mimflow.metrics.fidelity import fid, sfid
from mimflow.metrics.inception_score import inception_score
from mimflow.metrics.manifolds import precision_recall
from mimflow.metrics.spec import FidSpec, IsSpec, PrecisionRecallSpec, SfidSpec

REFERENCE = np.load(Path(__file__).parents[1] / "recordings" / "adm_evaluator_reference.npz")


def context_of(samples: np.ndarray, reference: np.ndarray) -> Any:
    """What metrics ask of a comparison, with these features (N, F) and (M, F)."""
    logits, given = torch.from_numpy(REFERENCE["logits"]), torch.from_numpy(reference)
    layers = SimpleNamespace(features="features", logits="logits", spatial="spatial")
    return SimpleNamespace(
        sample_features={**dict.fromkeys(("features", "spatial"), torch.from_numpy(samples)), "logits": logits},
        reference_features={"features": given},
        reference_moments=lambda layer: Gaussian(reference.astype(np.float64).mean(0), np.cov(reference, rowvar=False)),
        known=SimpleNamespace(count=len(reference)),
        extractor=layers,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize(
    ("name", "kind", "count"), [("fid", "features", None), ("sfid", "spatial", None), ("fid_few", "features", 32)]
)
def test_frechet_distances(name: str, kind: str, count: int | None) -> None:
    """The sFID is the FID of other features."""
    context = context_of(REFERENCE[f"{kind}/sample"][:count], REFERENCE[f"{kind}/reference"])
    (found,) = (sfid(SfidSpec(), context) if kind == "spatial" else fid(FidSpec(), context)).values()
    assert found.value == pytest.approx(float(REFERENCE[name]), rel=1e-5)


def test_the_distance_of_a_set_to_itself_is_zero() -> None:
    context = context_of(REFERENCE["features/reference"], REFERENCE["features/reference"])
    assert fid(FidSpec(), context)["fid"].value == pytest.approx(0, abs=1e-6)


def test_the_inception_score_of_one_split() -> None:
    """More splits are of shuffled samples here, and of consecutive ones there."""
    context = context_of(REFERENCE["features/sample"], REFERENCE["features/reference"])
    assert inception_score(IsSpec(splits=1), context)["is"].value == pytest.approx(float(REFERENCE["is"]), rel=1e-5)


def test_precision_and_recall_are_those_without_half_precision() -> None:
    context = context_of(REFERENCE["features/sample"], REFERENCE["features/reference"])
    found = precision_recall(PrecisionRecallSpec(neighbourhood=3), context)
    for name in ("precision", "recall"):
        assert found[name].value == pytest.approx(float(REFERENCE[f"{name}_exact"]), abs=1e-6)
        assert found[name].value == pytest.approx(float(REFERENCE[f"{name}_fp32"]), abs=1e-6)
