"""A PatchGAN discriminator, the hinge losses, and what steadies the two players."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.compute.devices import full_precision
from mimflow.objectives.terms.spec import Adversarial

LECAM_DECAY = 0.999
"""Of LeCAM's averages of the mean logits (MaskBit, STARFlow)."""


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


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """‖∂reconstruction/∂W‖ / (‖∂adversarial/∂W‖ + 10⁻⁴), at most 10⁴, without gradient (VQGAN, Eq. 7; LDM).

    W are the weights of the decoder's last layer. Where they are not trained, as in validation, it is 0, as in LDM.
    """
    if not last_layer.requires_grad:
        return reconstruction.new_zeros(())
    norms = [
        torch.autograd.grad(term, last_layer, retain_graph=True)[0].norm() for term in (reconstruction, adversarial)
    ]
    ratio = norms[0] / (norms[1] + 1e-4)
    return ratio.clamp(max=1e4).detach()


def lecam(real: Tensor, fake: Tensor, mean_real: Tensor, mean_fake: Tensor) -> Tensor:
    """mean relu(logits of images − mean_fake)² + mean relu(mean_real − logits of reconstructions)².

    The means are averages over past steps (Tseng et al., arXiv 2104.03310, with the relu of its code).
    """
    return F.relu(real.float() - mean_fake).square().mean() + F.relu(mean_real - fake.float()).square().mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """½ mean ‖∂D(x)/∂x‖² over images, D the mean of an image's logits (R1: Mescheder et al., arXiv 1801.04406)."""
    outputs = logits.float().flatten(1).mean(1).sum()
    (gradient,) = torch.autograd.grad(outputs, images, create_graph=True)
    return 0.5 * gradient.float().flatten(1).square().sum(1).mean()


class Discriminator(nn.Module):
    """A PatchGAN with both players' losses; LeCAM's averages are part of its state.

    It computes in fp32, also under autocast, as in the public trainers (REPA-E, MIMFlow).
    """

    mean_real: Tensor
    mean_fake: Tensor

    def __init__(self, spec: Adversarial, channels: int):
        super().__init__()
        self.spec = spec
        self.network = PatchGan(spec, channels)
        if spec.lecam:
            self.register_buffer("mean_real", torch.zeros(()))
            self.register_buffer("mean_fake", torch.zeros(()))

    def generator_term(
        self, reconstructions: Tensor, reconstruction: Tensor, last_layer: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted term that reconstructions (B, C, H, W) get, and its figures.

        `reconstruction` is the weighted sum of the other terms that train the decoder, and `last_layer` its last
        weights: an adaptive weight compares their gradients, and nothing else asks for them.
        """
        adversarial = generator_hinge(self._logits(reconstructions))
        figures = {"adversarial": adversarial}
        if not self.spec.adaptive:
            return self.spec.weight * adversarial, figures
        assert last_layer is not None
        weight = self.spec.weight * adaptive_weight(reconstruction, adversarial, last_layer)
        return weight * adversarial, figures | {"adversarial_weight": weight}

    def loss(self, images: Tensor, reconstructions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What it minimises itself on images and detached reconstructions, both (B, C, H, W), and its figures."""
        if self.spec.r1:
            images = images.detach().requires_grad_()
        real, fake = self._logits(images), self._logits(reconstructions)
        means = {"logits_real": real.detach().float().mean(), "logits_fake": fake.detach().float().mean()}
        loss, figures = discriminator_hinge(real, fake), dict(means)
        if self.spec.lecam:
            figures["lecam"] = lecam(real, fake, self.mean_real, self.mean_fake)
            loss = loss + self.spec.lecam * figures["lecam"]
            self._average(*means.values())
        if self.spec.r1:
            figures["r1"] = gradient_penalty(real, images)
            loss = loss + self.spec.r1 * figures["r1"]
        return loss, figures

    def _logits(self, images: Tensor) -> Tensor:
        with full_precision(images.device):
            logits: Tensor = self.network(images.float())
        return logits

    def _average(self, real: Tensor, fake: Tensor) -> None:
        # Not in place: the loss that is still to be differentiated has used the averages as they were.
        self.mean_real = self.mean_real.lerp(real, 1 - LECAM_DECAY)
        self.mean_fake = self.mean_fake.lerp(fake, 1 - LECAM_DECAY)
