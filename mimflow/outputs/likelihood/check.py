"""Whether sampling has a hand in the likelihood, and how exactly the flow is inverted (the review of iTARFlow)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mimflow.artifacts.likelihood import QUANTITIES, CheckFacts
from mimflow.nn.modes import evaluating
from mimflow.outputs.base import Setting
from mimflow.outputs.inverse.output import InverseSampler
from mimflow.outputs.likelihood.spec import LikelihoodCheck

if TYPE_CHECKING:
    from mimflow.outputs.likelihood.output import Likelihoods


def check_sampling(spec: LikelihoodCheck, likelihoods: Likelihoods, setting: Setting) -> CheckFacts:
    """What samples, without denoising and then with it, change about the likelihoods of the first images."""
    count, length = min(spec.count, len(setting.split(likelihoods.spec.split))), setting.drawing.batch_size
    batches = [range(start, min(start + length, count)) for start in range(0, count, length)]
    tensors = {name: tensor.clone() for name, tensor in setting.modules.state_dict().items()}
    found = [_log_likelihoods(likelihoods, setting, batches)]
    for sampler in (spec.without_denoising, spec.with_denoising):
        _sample(InverseSampler(sampler), likelihoods, setting, batches)
        found.append(_log_likelihoods(likelihoods, setting, batches))
    each, now = torch.stack(found), setting.modules.state_dict()
    latents, _ = likelihoods.noisy_latents(setting, range(1))[0]
    round_trips = [_round_trip(likelihoods, setting, rows) for rows in batches]
    return CheckFacts(
        count=count,
        difference=_largest((each.amax(0) - each.amin(0)) / latents.numel()),
        round_trip=_largest(torch.stack([error for error, _ in round_trips])),
        round_trip_noise=_largest(torch.stack([error for _, error in round_trips])),
        changed=sum(not torch.equal(tensor, now[name]) for name, tensor in tensors.items()),
    )


def _log_likelihoods(likelihoods: Likelihoods, setting: Setting, batches: list[range]) -> Tensor:
    """(N, L) in nats: the same noise every time."""
    place = QUANTITIES.index("log_likelihood")
    return torch.cat([likelihoods.quantities(setting, rows)[:, place] for rows in batches])


def _sample(sampler: InverseSampler, likelihoods: Likelihoods, setting: Setting, batches: list[range]) -> None:
    tokenizer, prior = setting.modules.module("tokenizer"), setting.modules.module("prior")
    for rows in batches:
        sampler.sample(tokenizer, prior, likelihoods.labels(setting, rows), setting.draws(rows))


@torch.no_grad()
def _round_trip(likelihoods: Likelihoods, setting: Setting, rows: range) -> tuple[Tensor, Tensor]:
    """The largest |f⁻¹(f(x)) − x| and |f(f⁻¹(z)) − z| of a batch, over all noise levels; scalars."""
    labels = likelihoods.labels(setting, rows)
    errors, errors_of_noise = [], []
    with evaluating(setting.modules):
        noise = setting.modules.module("prior").noise(setting.draws(rows)).to(setting.device)
        noisy = likelihoods.noisy_latents(setting, rows)
        for density, (latents, _) in zip(likelihoods.densities(setting), noisy, strict=True):
            errors.append((density.inverse(density(latents, labels).z, labels) - latents).abs().max())
            errors_of_noise.append((density(density.inverse(noise, labels), labels).z - noise).abs().max())
    return torch.stack(errors).max(), torch.stack(errors_of_noise).max()


def _largest(values: Tensor) -> float | None:
    """The largest of them; None if one is not finite."""
    found = float(values.max())
    return found if math.isfinite(found) else None
