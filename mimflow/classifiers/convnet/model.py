"""The small convolutional classifier."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.classifiers.convnet.spec import ConvnetSpec
from mimflow.spec.shapes import ImageShape


class Convnet(nn.Module):
    """Stages of a 3×3 convolution, batch norm and ReLU with 2×2 max pooling between them.

    The mean over space of the last stage goes through one hidden layer, the features, to the logits.
    """

    def __init__(self, spec: ConvnetSpec, image: ImageShape, num_classes: int):
        super().__init__()
        assert image.size >> (len(spec.widths) - 1) > 0, "refused by ConvnetSpec.image_problems"
        before = [image.channels, *spec.widths[:-1]]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(before, spec.widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in spec.widths)
        self.hidden = nn.Linear(spec.widths[-1], spec.features)
        self.logits = nn.Linear(spec.features, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in [−1, 1] → features (B, F), not negative, and logits (B, K)."""
        h = images
        for stage, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if stage:
                h = F.max_pool2d(h, 2)
            h = F.relu(norm(convolution(h)))
        features = F.relu(self.hidden(h.mean((2, 3))))
        return features, self.logits(features)
