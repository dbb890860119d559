"""Perceptual distances between images and their reconstructions."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers

from mimflow.compute.devices import full_precision
from mimflow.errors import ArtifactError
from mimflow.features.base import IMAGENET_MEAN, IMAGENET_STD, Frozen, Preparation
from mimflow.objectives.base import Batch
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.spec import ConvnextPerceptual, FeaturePerceptual, LpipsPerceptual, Perceptual
from mimflow.spec.weights import FileWeights
from mimflow.weights.given import given_file
from mimflow.weights.tensors import read_tensors

LPIPS_SLICES = ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30))
"""VGG16's layers up to relu1_2, 2_2, 3_3, 4_3 and 5_3."""
LPIPS_CHANNELS = (64, 128, 256, 512, 512)


def unit_distance(features: Tensor, others: Tensor, dim: int) -> Tensor:
    """Squared difference of features scaled to unit length along `dim`, not reduced: LPIPS without its weights."""
    features, others = (f / (f.norm(dim=dim, keepdim=True) + 1e-10) for f in (features.float(), others.float()))
    return (features - others).square()


class Lpips(Frozen):
    """LPIPS 0.1 with VGG16: learned weights of unit-length features, a mean over places, a sum over five layers."""

    def __init__(self, spec: LpipsPerceptual):
        super().__init__()
        # In its own range [−1, 1]: mean (−0.030, −0.088, −0.188), standard deviation (0.458, 0.448, 0.450).
        self.prepare = Preparation(None, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        features = make_layers(cfgs["D"])
        _load(features, spec.vgg, "torchvision's VGG16 (vgg16-397923af.pth)", ("features.", ""))
        self.slices = nn.ModuleList(features[begin:end] for begin, end in LPIPS_SLICES)
        self.linear = nn.ModuleDict(
            {
                f"lin{i}": nn.Sequential(nn.Dropout(), nn.Conv2d(c, 1, 1, bias=False))
                for i, c in enumerate(LPIPS_CHANNELS)
            }
        )
        _load(self.linear, spec.linear, "LPIPS' weights (vgg.pth, version 0.1)", (".model.", "."))
        self.freeze()

    def forward(self, reconstructions: Tensor, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → the mean distance."""
        found, wanted = self.prepare(reconstructions), self.prepare(images)
        total = found.new_zeros(())
        for part, weights in zip(self.slices, self.linear.values(), strict=True):
            found = part(found)
            with torch.no_grad():  # nothing is kept for a gradient that nobody asks for
                wanted = part(wanted)
            total = total + weights(unit_distance(found, wanted, dim=1)).mean()
        return total


class ConvnextLogits(Frozen):
    """Mean squared difference of ConvNeXt-Small's 1000 logits at 224 pixels."""

    def __init__(self, spec: ConvnextPerceptual):
        super().__init__()
        self.prepare = Preparation(224, IMAGENET_MEAN, IMAGENET_STD)
        self.network = torchvision.models.convnext_small()
        _load(self.network, spec.weights, "torchvision's ConvNeXt-Small (convnext_small-0c510722.pth)")
        self.freeze()

    def forward(self, reconstructions: Tensor, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → the mean distance."""
        logits = self.network(self.prepare(reconstructions))
        with torch.no_grad():
            targets = self.network(self.prepare(images))
        return F.mse_loss(logits.float(), targets.float())


class PerceptualDistance:
    """One perceptual term. Not a module: what is frozen is no part of an objective. Networks are built at first use.

    Computed in fp32, also under autocast, as in the public trainers (REPA-E, MIMFlow): a distance is a small difference
    of large features.
    """

    def __init__(self, spec: Perceptual, targets: Targets):
        self.spec = spec
        self.targets = targets
        self._network: Lpips | ConvnextLogits | None = None

    def __call__(self, reconstructions: Tensor, batch: Batch) -> Tensor:
        """Reconstructions (B, C, H, W) of a batch's images → the mean distance, differentiable."""
        with full_precision(reconstructions.device):
            return self._distance(reconstructions.float(), batch)

    def _distance(self, reconstructions: Tensor, batch: Batch) -> Tensor:
        if isinstance(self.spec, FeaturePerceptual):
            wanted = self.targets.of_batch(self.spec.network, batch)
            found = self.targets.of_images(self.spec.network, reconstructions)
            return unit_distance(found, wanted, dim=2).sum(2).mean()
        if self._network is None:
            with torch.random.fork_rng(devices=[]):
                built = Lpips(self.spec) if isinstance(self.spec, LpipsPerceptual) else ConvnextLogits(self.spec)
            self._network = built.to(reconstructions.device)
        return self._network(reconstructions, batch.images)


def _load(module: nn.Module, weights: FileWeights, what: str, rename: tuple[str, str] = ("", "")) -> None:
    """Load a file's tensors, a part of their names replaced; what the module does not have is left."""
    path = given_file(weights, what)
    given = {name.replace(*rename): tensor for name, tensor in read_tensors(path).items()}
    own = module.state_dict()
    wrong = [name for name, tensor in own.items() if name not in given or given[name].shape != tensor.shape]
    if wrong:
        raise ArtifactError(f"{path}: not {what}: {', '.join(wrong[:8])} missing or of another shape")
    module.load_state_dict({name: given[name] for name in own})
