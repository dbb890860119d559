"""Whether a system lives: its latents' spread over the data, what is decoded of them, and what alignment gains.

A latent that varies less than the noise tells the decoder little; where all of them shrink, the prior's likelihood
grows without bound and the system has collapsed (SimFlow, section 3.2). Where decoded images vary little over the data,
the decoder draws a mean image; where they vary without its transformer, something has taken its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch
from mimflow.objectives.terms.names import constant_of
from mimflow.spec.noise import AdditiveNoise, LatentNoise
from mimflow.tokenizers.base import Tokenizer

DEAD_TOKEN_RATIO = 0.1
"""A latent token is dead if its spread over the data is less than so much of the noise's."""

SOUND_SHARE = 0.5
"""The share of a variance below which `health_warnings` speaks."""

SOUND_GAIN = 0.05
"""The gain in −cos over the best constant below which `health_warnings` speaks."""


def noise_std(spec: LatentNoise) -> float:
    """The standard deviation of what is added to latents; of kinds that draw its share anew, over many draws."""
    if isinstance(spec, AdditiveNoise):
        return spec.std
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(add_noise(torch.zeros(20_000, 16, device="cpu"), spec).std())


@dataclass(frozen=True)
class Moments:
    """Mean and variance over images of tensors (B, …), each entry's for itself."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, batches: Iterable[Tensor]) -> Moments:
        """Those of tensors (B, …) that come in batches; at least two images in all."""
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            # Chan et al. 1983: batches are joined without the cancellation of sums of squares.
            batch = batch.double()
            size, own = len(batch), batch.mean(0)
            shift, total = own - mean.to(own), count + size
            squares = squares.to(own) + (batch - own).square().sum(0) + shift.square() * (count * size / total)
            mean, count = mean.to(own) + shift * (size / total), total
        return cls(mean, squares / max(1, count - 1))


@dataclass(frozen=True)
class Spread:
    """How much latents vary from image to image: the mean over images is taken off each dimension of each token."""

    variance: Tensor
    """(tokens, channels), over images."""

    @classmethod
    def of(cls, batches: Iterable[Tensor]) -> Spread:
        """The spread of latents (B, tokens, channels) that come in batches; at least two in all."""
        return cls(Moments.of(batches).variance)

    @property
    def channels(self) -> Tensor:
        """(channels,) standard deviations, of the mean variance over tokens."""
        return self.variance.mean(0).sqrt()

    @property
    def tokens(self) -> Tensor:
        """(tokens,) standard deviations, of the mean variance over channels."""
        return self.variance.mean(1).sqrt()

    def dead_tokens(self, noise: float) -> Tensor:
        """The share of tokens whose spread is below a tenth of the noise's; without noise, of those that never vary."""
        threshold = DEAD_TOKEN_RATIO * noise if noise > 0 else torch.finfo(torch.float32).eps
        return (self.tokens < threshold).double().mean()


def spread_figures(latents: Tensor, noise: float) -> dict[str, Tensor]:
    """The log's figures of one batch's latents (B, tokens, channels)."""
    spread = Spread.of([latents.detach()])
    channels = spread.channels
    figures = {
        "latent_std": channels.mean(),
        "latent_std_min": channels.min(),
        "latent_std_max": channels.max(),
        "dead_tokens": spread.dead_tokens(noise),
    }
    return figures | ({"spread_over_noise": channels.mean() / noise} if noise > 0 else {})


def spread_facts(spread: Spread, noise: float) -> dict[str, Any]:
    """The manifest's figures: as plain data, every channel's for itself."""
    channels = spread.channels
    return {
        "latent_std": {
            "mean": channels.mean().item(),
            "min": channels.min().item(),
            "max": channels.max().item(),
            "channels": channels.tolist(),
        },
        "noise_std": noise,
        "spread_over_noise": channels.mean().item() / noise if noise > 0 else None,
        "dead_tokens": spread.dead_tokens(noise).item(),
    }


def decoding_facts(tokenizer: Tokenizer, batches: Iterable[Batch]) -> dict[str, Any]:
    """The manifest's figures of what is decoded from whole images' latents without noise; several passes over batches.

    `decoded_variance`: the variance over images of what is decoded, summed over pixels, as a share of the images' own.
    `decoded_through_transformer`, of tokenizers that have one in their decoder: the share of that variance that is lost
    where the transformer's output is its mean over images, so that nothing of an image passes through it. None for a
    share of nothing.
    """
    with evaluating(tokenizer), torch.no_grad():
        decoded = _variance(_decoded(tokenizer, batches))
        facts = {"decoded_variance": _share(decoded, _variance(batch.images for batch in batches))}
        name = tokenizer.decoder_transformer()
        if name is None:
            return facts
        transformer = tokenizer.get_submodule(name)
        seen: list[Tensor] = []
        with transformer.register_forward_hook(lambda module, given, output: seen.append(output)):
            mean = Moments.of(seen.pop() for _ in _decoded(tokenizer, batches)).mean
        with transformer.register_forward_hook(lambda module, given, output: mean.to(output).expand_as(output)):
            past = _share(_variance(_decoded(tokenizer, batches)), decoded)
        return facts | {"decoded_through_transformer": None if past is None else 1 - past}


def _decoded(tokenizer: Tokenizer, batches: Iterable[Batch]) -> Iterator[Tensor]:
    return (tokenizer.decode(tokenizer.encode(batch.images)) for batch in batches)


def _variance(images: Iterable[Tensor]) -> float:
    """Over images (B, C, H, W) that come in batches, summed over pixels."""
    return Moments.of(images).variance.sum().item()


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def health_warnings(health: Mapping[str, Any], val: Mapping[str, float | None]) -> list[str]:
    """What people should know of a phase, a line each, from its figures of health and those on the val split."""
    found = []
    if (share := health.get("decoded_variance")) is not None and share < SOUND_SHARE:
        found.append(
            f"decoded images have {share:.0%} of the images' variance: the decoder draws little more than a mean image "
            f"(sound: {SOUND_SHARE:.0%} or more)"
        )
    if (share := health.get("decoded_through_transformer")) is not None and share < SOUND_SHARE:
        found.append(
            f"{share:.0%} of what is decoded passes through the decoder's transformer: the rest goes past it "
            f"(sound: {SOUND_SHARE:.0%} or more)"
        )
    for name, own in val.items():
        constant = val.get(constant_of(name))
        if own is not None and constant is not None and constant - own < SOUND_GAIN:
            found.append(
                f"{name} is {own:.3f} where a constant has {constant:.3f}: it says little of an image "
                f"(sound: lower by {SOUND_GAIN} or more; centred: true takes the mean off the targets)"
            )
    return found
