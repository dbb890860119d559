"""Seconds that evaluating 2,000 samples of 32 × 32 takes after start-up: `python benchmarks/evaluation.py --runs 5`.

In the features of the classifier of MNIST's twins, with random weights, against 4,000 reference images. Features
against the same network on planes, and precision and recall against whole matrices of distances, as public code has
them; then each metric of the protocol by itself, once the features are there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleave import interleave
from torch import Tensor, nn

from mimflow.artifacts.reference import Gaussian
from mimflow.features.extractors import ClassifierFeatures, Extractor
from mimflow.metrics.context import ImageComparison, KnownReference, moments
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import PrecisionRecallSpec
from mimflow.products.registry import open_workspace
from mimflow.project.workspace import Workspace
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes

REPOSITORY = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
PROTOCOL = "mnist5k-2k"
COMPARED = ("fid", "is", "precision_recall", "class_accuracy")
"""The kinds of the protocol's metrics that samples of a flow have."""
BATCH = 64
"""Of the plain way."""


def build(workspace: Workspace, images: int, reference: int) -> ImageComparison:
    """So many random images against another set of them, in the features of the protocol's classifier."""
    protocol = workspace.get("protocol", PROTOCOL).spec
    run = workspace.get("run", protocol.extractor.weights.run).spec
    shapes = Shapes.of(workspace.get("dataset", protocol.dataset).spec)
    torch.manual_seed(0)
    classifier = SystemModules(run.system, shapes).module("classifier").eval()
    module = ClassifierFeatures("benchmark", classifier)
    extractor = Extractor(module, features="features", logits="logits", classifies=True, facts={})
    random = np.random.default_rng(0)
    size = (shapes.size, shapes.size, shapes.channels)
    every = [random.integers(0, 256, (count, *size), np.uint8) for count in (images, reference)]
    labels = random.integers(0, shapes.num_classes, images)
    compared = ImageComparison(every[1], labels, extractor, CPU).sample_features["features"]
    found = moments(compared)
    known = KnownReference(reference, Gaussian(found.mu, found.sigma), features=compared)
    return ImageComparison(every[0], labels, extractor, CPU, known)


@torch.no_grad()
def plain_features(context: ImageComparison) -> Tensor:
    """(N, F), of planes."""
    classifier: Any = context.extractor.module.classifier
    assert isinstance(context.samples, np.ndarray)
    found = []
    for batch in torch.from_numpy(context.samples).split(BATCH):
        # Of one channel, what is permuted alone lies either way.
        h = batch.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format).float() / 127.5 - 1
        for stage, (convolution, norm) in enumerate(zip(classifier.convolutions, classifier.norms, strict=True)):
            h = nn.functional.relu(norm(convolution(nn.functional.max_pool2d(h, 2) if stage else h)))
        found.append(nn.functional.relu(classifier.hidden(h.mean((2, 3)))))
    return torch.cat(found)


def ours(context: ImageComparison) -> Tensor:
    """(N, F), in an order of their own."""
    fresh = ImageComparison(context.samples, context.labels, context.extractor, CPU, context.known)
    return fresh.sample_features["features"]


def plain_precision_recall(context: ImageComparison, neighbourhood: int) -> tuple[float, float]:
    """By whole matrices of distances in float64."""
    samples, reference = (
        features["features"].double() for features in (context.sample_features, context.reference_features)
    )
    radii = [torch.cdist(rows, rows).kthvalue(neighbourhood + 1, dim=1).values for rows in (samples, reference)]
    between = torch.cdist(samples, reference)
    precision = (between <= radii[1]).any(1).double().mean().item()
    return precision, (between <= radii[0][:, None]).any(0).double().mean().item()


def our_precision_recall(context: ImageComparison, neighbourhood: int) -> tuple[float, float]:
    """By blocks of them."""
    found = METRICS.build(PrecisionRecallSpec(neighbourhood=neighbourhood), context)
    return found["precision"].value, found["recall"].value


def seconds(work: Callable[[], Any], runs: int) -> float:
    """The least of several runs."""
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def compared(what: str, slow: Callable[[], Any], fast: Callable[[], Any], runs: int) -> str:
    """One line: how many times as fast the second is."""
    ratios = interleave(slow, fast, runs)
    return (
        f"{what:24}  {ratios.minimum:.2f}× by minimum  {ratios.median:.2f}× by median  "
        f"{ratios.slow:.2f} against {ratios.fast:.2f} s"
    )


def measure(workspace: Workspace, images: int, reference: int, runs: int) -> list[str]:
    """Lines: both comparisons, each metric by itself, and all together with the features."""
    context = build(workspace, images, reference)
    metrics = [metric for metric in workspace.get("protocol", PROTOCOL).spec.metrics if metric.kind in COMPARED]
    apart = (plain_features(context)[context.sample_order] - ours(context)).abs().max().item()
    (balls,) = (metric.neighbourhood for metric in metrics if isinstance(metric, PrecisionRecallSpec))
    plain, blocks = plain_precision_recall(context, balls), our_precision_recall(context, balls)
    lines = [
        compared("features", partial(plain_features, context), partial(ours, context), runs)
        + f"  differ by {apart:.1e}",
        compared(
            "precision and recall",
            partial(plain_precision_recall, context, balls),
            partial(our_precision_recall, context, balls),
            runs,
        )
        + f"  {plain[0]:.4f}, {plain[1]:.4f} against {blocks[0]:.4f}, {blocks[1]:.4f}",
    ]
    for metric in metrics:
        lines.append(f"{metric.kind:24}  {seconds(partial(METRICS.build, metric, context), runs):.3f} s")

    def whole() -> None:
        fresh = ImageComparison(context.samples, context.labels, context.extractor, CPU, context.known)
        for metric in metrics:
            METRICS.build(metric, fresh)

    lines.append(f"{'all, features included':24}  {seconds(whole, runs):.2f} s")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(*measure(open_workspace(REPOSITORY), 2000, 4000, arguments.runs), sep="\n", flush=True)


if __name__ == "__main__":
    main()
