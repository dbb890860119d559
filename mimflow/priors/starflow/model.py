"""The STARFlow family: STARFlow (Gu et al., arXiv 2506.06276), and the flows of SimFlow and MIMFlow."""

from __future__ import annotations

from dataclasses import replace

from mimflow.nn.transformer import TransformerOptions
from mimflow.priors.autoregressive import AutoregressivePrior, alternating
from mimflow.priors.block import BlockOptions
from mimflow.priors.starflow.spec import StarflowSpec
from mimflow.spec.shapes import LatentShape


class Starflow(AutoregressivePrior):
    """Shallow blocks next to the data and a deep one next to the noise (STARFlow, section 3.2)."""

    def __init__(self, spec: StarflowSpec, latent: LatentShape, num_classes: int):
        deep = BlockOptions(
            TransformerOptions(spec.width, spec.head_width, spec.expansion, norm=spec.norm, gated=spec.gated_attention),
            conditioning=spec.conditioning,
            position=spec.position,
            rotary_spare=spec.rotary_spare,
            rotary_side=spec.rotary_side,
            start=spec.start,
            scale=spec.scale,
            soft_clip=spec.soft_clip,
            final_norm=spec.final_norm,
        )
        blind = spec.conditioning == "prefix" and spec.prefix_blocks == "deep"
        shallow = replace(deep, conditioning="none") if blind else deep
        options = [shallow] * (len(spec.blocks) - 1) + [deep]
        blocks = alternating(options, spec.blocks, latent, num_classes, first_reversed=spec.order == "reverse")
        super().__init__(blocks, latent)
