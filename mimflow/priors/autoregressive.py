"""What an autoregressive prior does beyond a flow prior."""

from __future__ import annotations

from torch import Tensor

from mimflow.priors.base import FlowPrior
from mimflow.samplers.guidance import Guidance


class AutoregressivePrior(FlowPrior):
    """A stack of blocks, each of which predicts a token's affine map from the tokens before it."""

    def inverse(self, z: Tensor, labels: Tensor, guidance: Guidance | None = None) -> Tensor:
        """Sampling direction, token by token: noise (B, tokens, channels) → latents; not differentiable."""
        raise NotImplementedError
