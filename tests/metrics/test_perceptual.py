"""LPIPS against torch-fidelity's and the package lpips' own code, and the same distance in EfficientNet-Lite0 by hand."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import timm
import torch
import torch_fidelity.sample_similarity_lpips as reference_lpips
from measuring import context_of, measure, value
from torch import nn
from torchvision.models import AlexNet
from torchvision.models.vgg import cfgs, make_layers

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.features.efficientnet_lite0 import pretrained
from mimflow.features.lpips import CHANNELS
from mimflow.metrics.perceptual_spec import LpipsAlexSpec, LpipsVggSpec, PerceptualSpec
from mimflow.spec.weights import FileWeights
from mimflow.weights.tensors import save_state

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def photographs(count: int, side: int, shift: int = 0) -> np.ndarray:
    """Crops (N, side, side, 3) uint8 of a photograph; shifted ones show almost the same."""
    image = skimage.data.chelsea()
    return np.stack([image[60 + 10 * i : 60 + 10 * i + side, 120 + shift : 120 + shift + side] for i in range(count)])


def saved(path: Path, state: dict[str, torch.Tensor]) -> FileWeights:
    save_state(state, path)
    return FileWeights(file=str(path), sha256=sha256_of(path))


def random_backbone(layers: nn.Sequential) -> nn.Sequential:
    torch.manual_seed(0)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):  # so that signals keep their size
            nn.init.kaiming_normal_(layer.weight)
    return layers.requires_grad_(False)


def alexnet_layers() -> nn.Sequential:
    """AlexNet's convolutions, without the 58 M weights of its classifier."""
    with torch.device("meta"):
        layers = AlexNet().features.to_empty(device="cpu")
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return layers


def random_linear(backbone: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(CHANNELS[backbone])}


def features_of(layers: nn.Sequential) -> dict[str, torch.Tensor]:
    return {f"features.{name}": tensor for name, tensor in layers.state_dict().items()}


@pytest.mark.slow
def test_lpips_in_vgg_is_torch_fidelitys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vgg, linear = random_backbone(make_layers(cfgs["D"])), random_linear("vgg")
    spec = LpipsVggSpec(
        vgg=saved(tmp_path / "vgg.safetensors", features_of(vgg)), linear=saved(tmp_path / "lin.safetensors", linear)
    )
    # torch-fidelity's own weights are downloads: it gets ours.
    monkeypatch.setattr(reference_lpips, "load_state_dict_from_url", lambda *_, **__: linear)
    monkeypatch.setattr(reference_lpips, "torchvision_load_pretrained_vgg16", lambda: SimpleNamespace(features=vgg))
    images, originals = photographs(3, 32), photographs(3, 32, shift=3)
    pairs = (torch.from_numpy(rows).permute(0, 3, 1, 2).float() for rows in (images, originals))
    wanted = reference_lpips.SampleSimilarityLPIPS("reference")(*pairs).mean().item()
    monkeypatch.setattr("mimflow.metrics.perceptual.PART", 2)
    assert value(spec, context_of(images, originals, tmp_path)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_lpips_in_alexnet_by_hand(tmp_path: Path) -> None:
    """Behind each of the five ReLUs: features of unit length, squared difference, weighted, a mean over places."""
    alex, linear = random_backbone(alexnet_layers()), random_linear("alex")
    spec = LpipsAlexSpec(
        alex=saved(tmp_path / "alex.safetensors", features_of(alex)),
        linear=saved(tmp_path / "lin.safetensors", linear),
    )
    images, originals = photographs(3, 64), photographs(3, 64, shift=3)
    wanted = np.zeros(3)
    h = [(torch.from_numpy(rows).permute(0, 3, 1, 2) / 255 - MEAN) / STD for rows in (images, originals)]
    weights = iter(linear.values())
    for layer in alex:
        h = [layer(part) for part in h]
        if isinstance(layer, nn.ReLU):
            first, second = (part.double().numpy() for part in h)
            first, second = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second))
            distance = np.square(first - second) * next(weights).double().numpy()
            wanted += distance.sum(1).mean((1, 2))
    assert value(spec, context_of(images, originals, tmp_path)) == pytest.approx(wanted.mean(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_without_a_file_the_linear_weights_are_those_of_the_package(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole distance is that of the package's own code, which gets the same random backbone."""
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    layers = random_backbone(alexnet_layers() if backbone == "alex" else make_layers(cfgs["D"]))
    network = SimpleNamespace(features=layers)
    theirs = importlib.import_module("lpips.pretrained_networks")
    given = SimpleNamespace(alexnet=lambda pretrained: network, vgg16=lambda pretrained: network)
    monkeypatch.setattr(theirs, "tv", given)
    reference = lpips.LPIPS(net=backbone, verbose=False)
    images, originals = photographs(2, 64), photographs(2, 64, shift=3)
    pairs = (torch.from_numpy(rows).permute(0, 3, 1, 2) / 127.5 - 1 for rows in (images, originals))
    with torch.no_grad():
        wanted = reference(*pairs).mean().item()
    weights = saved(tmp_path / "backbone.safetensors", features_of(layers))
    spec = LpipsAlexSpec(alex=weights) if backbone == "alex" else LpipsVggSpec(vgg=weights)
    assert value(spec, context_of(images, originals, tmp_path)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.fault("weights from outside")
def test_without_the_package_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setattr("mimflow.features.lpips.find_spec", lambda name: None)
    weights = saved(tmp_path / "alex.safetensors", features_of(alexnet_layers()))
    images = photographs(2, 32)
    with pytest.raises(ArtifactError, match=r"the package that has them is missing \(pip install lpips==0\.1\.4"):
        measure(LpipsAlexSpec(alex=weights), context_of(images, images, tmp_path))


def test_images_that_its_network_has_nothing_left_of_are_a_reason(tmp_path: Path) -> None:
    absent = FileWeights(file="weights/gone.pth", sha256="0" * 64)
    small = photographs(2, 16)
    found = measure(LpipsAlexSpec(alex=absent), context_of(small, small, tmp_path))["lpips_alex"]
    assert found.reason == "images of 16 pixels are smaller than the 31 that its network takes"


@pytest.mark.parametrize("side", [31, 16])
def test_networks_take_images_of_the_least_side(side: int) -> None:
    layers = alexnet_layers()[:12] if side == 31 else make_layers(cfgs["D"])[:30]
    assert layers(torch.zeros(1, 3, side, side)).shape[-1] == 1
    with pytest.raises(RuntimeError):
        layers(torch.zeros(1, 3, side - 1, side - 1))


def test_the_perceptual_distance_by_hand_and_nothing_between_equal_images(tmp_path: Path) -> None:
    """timm's five feature maps of images less 127, over 128."""
    network = timm.create_model("efficientnet_lite0", features_only=True).eval()
    network.load_state_dict(pretrained().state_dict(), strict=False)
    images, originals = photographs(3, 64), photographs(3, 64, shift=3)
    wanted = np.zeros(3)
    with torch.no_grad():
        maps = [network((torch.from_numpy(r).permute(0, 3, 1, 2).float() - 127) / 128) for r in (images, originals)]
    assert len(maps[0]) == 5
    for pair in zip(*maps, strict=True):
        first, second = (part.double().numpy() for part in pair)
        first, second = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second))
        wanted += np.square(first - second).sum(1).mean((1, 2))
    assert value(PerceptualSpec(), context_of(images, originals, tmp_path)) == pytest.approx(wanted.mean(), rel=1e-4)
    assert value(PerceptualSpec(), context_of(images, images, tmp_path)) == pytest.approx(0, abs=1e-9)
    other = value(PerceptualSpec(input_size=48), context_of(images, originals, tmp_path))
    assert other != pytest.approx(wanted.mean(), rel=1e-2)


def test_grey_images_are_compared_as_rgb(tmp_path: Path) -> None:
    images, originals = photographs(2, 32)[..., :1], photographs(2, 32, shift=3)[..., :1]
    grey = value(PerceptualSpec(), context_of(images, originals, tmp_path))
    colour = context_of(images.repeat(3, 3), originals.repeat(3, 3), tmp_path)
    assert grey == pytest.approx(value(PerceptualSpec(), colour), rel=1e-6)
