"""The linear probe of MIMFlow's tools."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import FeatureSplit, RepresentedSplits
from mimflow.metrics.spec import LinearProbeSpec
from mimflow.seeds import derive

LEAST_VARIANCE = 1e-6
"""Variances of features below it, of ones that never change, count as this."""


def linear_probe(spec: LinearProbeSpec, context: RepresentedSplits) -> dict[str, MetricValue]:
    """Accuracy on the validation split after the last epoch, and the best of the epochs evaluated.

    The same numbers for the same seed on the same device; the caller's random state is left alone.
    """
    reason = _why_not(context.train, "training") or _why_not(context.val, "validation")
    if reason is not None:
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    mean, scale = _standard(context.train.features)
    train, val = (
        FeatureSplit(((split.features - mean) / scale).to(context.device), split.labels.to(context.device))
        for split in (context.train, context.val)
    )
    with torch.random.fork_rng():
        torch.manual_seed(derive(spec.seed, "linear probe"))
        accuracies = _train(spec, train, val, context.num_classes)
    return {"probe_last": MetricValue(accuracies[-1]), "probe_best": MetricValue(max(accuracies))}


def _train(spec: LinearProbeSpec, train: FeatureSplit, val: FeatureSplit, num_classes: int) -> list[float]:
    """The accuracy after each epoch that is evaluated, the last one's at the end."""
    width = train.features.shape[1]
    head = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, num_classes)).to(train.features.device)
    optimizer = torch.optim.SGD(head.parameters(), spec.lr, spec.momentum, weight_decay=spec.weight_decay)
    parts = math.ceil(len(train.labels) / spec.batch_size)
    accuracies = []
    for epoch in range(spec.epochs):
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * spec.lr * (1 + math.cos(math.pi * epoch / spec.epochs))
        head.train()
        # Equal parts: a last batch of one image would have no variance to normalise by.
        for rows in torch.randperm(len(train.labels)).tensor_split(parts):
            rows = rows.to(train.labels.device)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(head(train.features[rows]), train.labels[rows]).backward()
            optimizer.step()
        if (epoch + 1) % spec.eval_every == 0 or epoch + 1 == spec.epochs:
            accuracies.append(_accuracy(head.eval(), val))
    return accuracies


@torch.no_grad()
def _accuracy(head: nn.Module, split: FeatureSplit) -> float:
    return (head(split.features).argmax(1) == split.labels).double().mean().item()


def _standard(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (F,) of features (N, F)."""
    variance, mean = torch.var_mean(features, 0, correction=0)
    return mean, variance.clamp(min=LEAST_VARIANCE).sqrt()


def _why_not(split: FeatureSplit, name: str) -> str | None:
    broken = int((~split.features.isfinite().all(1)).sum())
    if broken:
        return f"features of {broken} of {len(split.features)} {name} images are not finite"
    if len(split.features) < 2:
        return f"{len(split.features)} {name} images, at least 2 needed"
    return None
