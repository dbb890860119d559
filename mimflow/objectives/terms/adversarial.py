"""A PatchGAN discriminator and the hinge losses."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.objectives.terms.spec import Adversarial


class PatchGan(nn.Sequential):
    """Images (B, C, H, W) → logits (B, 1, h, w), each of which sees a patch (Isola et al. 2017, as in taming)."""

    def __init__(self, spec: Adversarial, channels: int):
        layers: list[nn.Module] = [nn.Conv2d(channels, spec.width, spec.kernel, 2, 1), nn.LeakyReLU(0.2)]
        width = spec.width
        for layer in range(1, spec.layers + 1):
            before, width = width, spec.width * min(2**layer, 8)
            stride = 2 if layer < spec.layers else 1
            layers += [
                nn.Conv2d(before, width, spec.kernel, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*layers, nn.Conv2d(width, 1, spec.kernel, 1, 1))
        if spec.initialisation == "normal":
            self.apply(_initialise)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def generator_hinge(fake: Tensor) -> Tensor:
    """−mean of the logits of reconstructions."""
    return -fake.float().mean()


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """½ (mean relu(1 − logits of images) + mean relu(1 + logits of reconstructions))."""
    return 0.5 * (F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean())
