"""Tiny examples of every registered part, for the contract tests to iterate over.

A new member of a registry is tested as its defaults make it. One with fields that have no default needs a line here
(`test_every_kind_has_an_example` of its contract test says so), and one with options deserves it.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from mimflow.nn.affine import Affine
from mimflow.nn.draws import Draws
from mimflow.nn.transformer import Transformer
from mimflow.priors.base import FlowOutput, FlowPrior, Prior
from mimflow.priors.block import AutoregressiveBlock
from mimflow.priors.class_gaussian.model import ClassGaussian
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.priors.registry import PRIORS
from mimflow.priors.sit.spec import SitSpec
from mimflow.priors.spec import PriorSpec
from mimflow.priors.starflow.spec import StarflowSpec
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.base import Spec
from mimflow.spec.noise import LogitNormalLaw
from mimflow.spec.registry import Registry
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.tokenizers.kl_vae.spec import FixedVariance, KlVaeSpec, LearnableVariance
from mimflow.tokenizers.masked_ae.spec import (
    DecoderSpec,
    EncoderSpec,
    MaskedAeSpec,
    NoMask,
    TruncatedNormalMask,
    UniformMask,
)
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.tokenizers.registry import TOKENIZERS
from mimflow.tokenizers.spec import TokenizerSpec

CLASSES = 3
LATENT = LatentShape(tokens=6, channels=3, grid=(2, 3))
EVEN_LATENT = LatentShape(tokens=8, channels=2, grid=(2, 4))
"""For priors that cut a grid into squares."""
LEVELS = (0.02, 0.7)
"""Noise levels for priors that have them."""
IMAGE = ImageShape(channels=2, size=12)

TARFLOW = TarflowSpec(width=8, blocks=[1, 2, 1], head_width=4, expansion=2)
ITARFLOW = ItarflowSpec(width=8, blocks=[1, 2, 1], head_width=4, expansion=2)
STARFLOW = StarflowSpec(width=16, blocks=[1, 1, 2], head_width=16, expansion=2)
SIT = SitSpec(width=16, layers=2, head_width=8, expansion=2)
MASKED_AE = MaskedAeSpec(
    patch_size=3,
    latents=5,
    channels=4,
    encoder=EncoderSpec(width=16, layers=2, heads=2),
    decoder=DecoderSpec(width=16, layers=1, heads=4),
    mask=TruncatedNormalMask(low=0.4, high=0.6),
)
KL_VAE = KlVaeSpec(
    channels=3, width=4, multipliers=[1, 2, 2], blocks=1, groups=2, variance=LearnableVariance(), scale=0.5
)

PRIOR_EXAMPLES: dict[str, list[PriorSpec]] = {
    "tarflow": [
        TARFLOW,
        TARFLOW.model_copy(update={"class_conditional": False}),
        TARFLOW.model_copy(update={"volume_preserving": True}),
    ],
    "starflow": [
        STARFLOW.model_copy(update={"blocks": [1, 0, 2], "gated_attention": True}),
        STARFLOW.model_copy(update={"conditioning": "ada_ln_zero", "start": "sos", "soft_clip": 2.0}),
        STARFLOW.model_copy(update={"conditioning": "ada_ln_zero", "norm": "rms", "position": "rotary_2d"}),
        STARFLOW.model_copy(
            update={
                "width": 24,
                "head_width": 24,
                "conditioning": "prefix",
                "position": "rotary_2d",
                "order": "reverse",
                "start": "sos",
                "scale": "softplus",
                "soft_clip": 4.0,
                "final_norm": True,
            }
        ),
        STARFLOW.model_copy(update={"conditioning": "prefix", "norm": "rms"}),
        STARFLOW.model_copy(update={"conditioning": "none", "start": "sos"}),
    ],
    "itarflow": [
        ITARFLOW.model_copy(update={"input_scale": 1.5}),
        ITARFLOW.model_copy(update={"class_conditional": False}),
        ITARFLOW.model_copy(update={"blocks": [1, 2, 3], "shared_layers": 2}),
        ITARFLOW.model_copy(update={"block_widths": [8, 12, 4], "block_patches": [2, 1, 1]}),
        ITARFLOW.model_copy(update={"blocks": [1, 1], "block_patches": [1, 2]}),
    ],
    "sit": [
        SIT,
        SIT.model_copy(update={"path": "gvp", "t": LogitNormalLaw(), "position": "learned", "time_scale": 1000.0}),
    ],
    "class_gaussian": [ClassGaussianSpec(ridge=0.1)],
}

TOKENIZER_EXAMPLES: dict[str, list[TokenizerSpec]] = {
    "pixel": [PixelTokenizerSpec(patch_size=3), PixelTokenizerSpec(patch_size=1)],
    "masked_ae": [
        MASKED_AE,
        MASKED_AE.model_copy(update={"mask": NoMask(), "latent_norm": "layer", "linear_shortcut": True}),
        MASKED_AE.model_copy(
            update={
                "mask": UniformMask(low=0.2, high=0.8, per="sample", style="drop"),
                "encoder": EncoderSpec(width=16, layers=1, heads=2, layer_scale=1e-5, drop_path=0.1),
                "decoder": DecoderSpec(width=8, layers=2, heads=1, absolute_positions=True),
                "latent_norm": "batch",
                "linear_shortcut": True,
            }
        ),
        MASKED_AE.model_copy(
            update={
                "mask": UniformMask(low=0.5, high=0.5, style="drop"),
                "decoder": DecoderSpec(width=8, layers=1, heads=4, absolute_positions=True),
                "rotary": False,
            }
        ),
    ],
    "kl_vae": [
        KL_VAE,
        KL_VAE.model_copy(update={"variance": LearnableVariance(sample_posterior=False), "attention": "none"}),
        KL_VAE.model_copy(update={"variance": FixedVariance(), "latent_norm": "layer", "attention": "both"}),
        KL_VAE.model_copy(update={"variance": FixedVariance(outputs="both"), "multipliers": [1, 1], "blocks": 2}),
    ],
}


def add_defaults(registry: Registry, table: dict[str, list]) -> None:
    """Where `table` has nothing for a kind whose fields all have a default, its example is what the defaults make."""
    for kind in registry:
        if kind not in table and not any(f.is_required() for f in registry.spec(kind).model_fields.values()):
            table[kind] = [registry.spec(kind)()]


add_defaults(PRIORS, PRIOR_EXAMPLES)
add_defaults(TOKENIZERS, TOKENIZER_EXAMPLES)


def missing_examples(registry: Registry, table: dict[str, list]) -> list[str]:
    """Registered kinds that `table` has nothing for."""
    return [kind for kind in registry if not table.get(kind)]


def flattened(table: dict[str, list]) -> list[Spec]:
    """The examples of a table, for `pytest.mark.parametrize`."""
    return [spec for specs in table.values() for spec in specs]


def label_of(spec: Spec) -> str:
    """What a parametrised test calls an example: its kind and what it changes."""
    chosen = {name: getattr(spec, name) for name in sorted(spec.model_fields_set - {"kind"})}
    changed = [
        value if isinstance(value, str) else name for name, value in chosen.items() if type(value) in (bool, str)
    ]
    return "-".join([spec.kind, *changed])  # type: ignore[attr-defined]


def tiny_prior(spec: PriorSpec, latent: LatentShape = LATENT, seed: int = 0) -> Prior:
    """A prior in float64 and evaluation mode away from its start, the identity, which would prove nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        prior = PRIORS.build(spec, latent, CLASSES).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    if isinstance(prior, ClassGaussian):
        latents = torch.randn(60, latent.tokens, latent.channels, generator=generator, dtype=torch.float64)
        labels = torch.arange(60) % CLASSES
        prior.fit([(latents + labels[:, None, None], labels)])
    return prior


def latent_for(spec: PriorSpec) -> LatentShape:
    """The latents that an example of a prior is tried on."""
    return EVEN_LATENT if list(spec.latent_problems(LATENT)) else LATENT


def levels_of(spec: PriorSpec) -> list[float | None]:
    """The noise levels that an example is tried at; None for a prior without."""
    return list(LEVELS) if spec.noise_levels else [None]


def tiny_example(spec: PriorSpec, level: float | None, count: int) -> tuple[Prior, torch.Tensor]:
    """An example, at a noise level if it has any, and `count` latents that fit it."""
    latent = latent_for(spec)
    prior = tiny_prior(spec, latent)
    return prior if level is None else prior.at(level), tiny_latents(count, latent)


class GaussianUnderNoise(FlowPrior):
    """N(0, s² + t²) in every dimension at level t: exactly what data of N(0, s²) is there. It remembers its levels."""

    def __init__(self, std: float, level: torch.Tensor | float | None = None):
        super().__init__()
        self.std, self.level = std, level
        self.asked: list[torch.Tensor | float] = []

    def at(self, level: torch.Tensor | float) -> GaussianUnderNoise:
        self.asked.append(level)
        return GaussianUnderNoise(self.std, level)

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> FlowOutput:
        level = torch.as_tensor(self.level, dtype=latents.dtype).expand(len(latents))
        scale = (self.std**2 + level.square()).sqrt()
        return FlowOutput(latents / scale[:, None, None], -latents[0].numel() * scale.log())


def tiny_latents(count: int, latent: LatentShape = LATENT, seed: int = 1) -> torch.Tensor:
    """(count, tokens, channels) in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, latent.tokens, latent.channels, generator=generator, dtype=torch.float64)


@torch.no_grad()
def at_temperature(network: Transformer, temperature: float) -> Transformer:
    """A copy whose parallel pass divides its attention logits by a temperature: its queries are."""
    changed = deepcopy(network)
    for layer in changed.stack:
        width = layer.attention.qkv.in_features
        layer.attention.qkv.weight[:width] /= temperature
        layer.attention.qkv.bias[:width] /= temperature
    return changed


def predicted(
    block: AutoregressiveBlock, u: Tensor, labels: Tensor, temperature: float = 1.0, level: Tensor | None = None
) -> Affine:
    """The map of every token, (B, T, C), in one parallel pass at a temperature; u and the result in the block's order."""
    changed = deepcopy(block)
    changed.transformer = at_temperature(block.transformer, temperature)
    return changed.predict(u, labels, level=level)[0]


def image_draws(count: int, seed: int = 0) -> Draws:
    """Randomness for so many images; other seeds give other numbers."""
    return Draws(range(seed * 10**6, seed * 10**6 + count))
