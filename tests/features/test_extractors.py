"""Feature extractors: what every one must do, and what is refused as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import timm
import torch
from artifacts import store_artifact, train_facts
from torch.nn import functional as F
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.classifiers.convnet.spec import ConvnetSpec
from mimflow.errors import ArtifactError
from mimflow.features.registry import EXTRACTORS
from mimflow.features.spec import ClassifierExtractorSpec, EfficientnetLite0ExtractorSpec, InceptionExtractorSpec
from mimflow.spec.weights import FileWeights, RunWeights
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.weights.tensors import save_state

GREY = Shapes(channels=1, size=8, num_classes=3)
CLASSIFIER = System(classifier=ConvnetSpec(widths=[4, 8], features=5))
CLASSIFIER_SPEC = ClassifierExtractorSpec(weights=RunWeights(run="judge"))


def trained_classifier(folder: Path, seed: int = 0, shapes: Shapes = GREY) -> Artifact:
    torch.manual_seed(seed)
    modules = SystemModules(CLASSIFIER, shapes)
    save_state(modules.state_dict(), folder / "weights.safetensors")
    return store_artifact(folder, stage="train", name="judge.main.s0", facts=train_facts({"accuracy": 0.97}))


class RandomInception(FeatureExtractorInceptionV3):
    """torch-fidelity's architecture as it is before it loads its file."""

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:  # type: ignore[override]
        assert not state_dict


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of Inception."""
    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "nothing.pth")
    torch.manual_seed(0)
    module = RandomInception("random", ["2048"], feature_extractor_weights_path=str(folder / "nothing.pth"))
    torch.save(module.state_dict(), folder / "inception.pth")
    return folder / "inception.pth"


def inception_spec(path: Path, sha256: str | None = None) -> InceptionExtractorSpec:
    return InceptionExtractorSpec(weights=FileWeights(file=str(path), sha256=sha256 or sha256_of(path)))


@pytest.mark.slow
def test_the_classifier_takes_no_package_that_only_others_need() -> None:
    modules = ("features.extractors", "contents.images", "metrics.fidelity", "metrics.manifolds", "stages.evaluate")
    imports = "; ".join(f"import mimflow.{module}" for module in modules)
    asked = f"import sys; {imports}; print({{'torch_fidelity', 'timm', 'torchvision'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.slow
def test_every_extractor_has_an_example(tmp_path: Path, inception_file: Path) -> None:
    built = {
        "classifier": EXTRACTORS.build(CLASSIFIER_SPEC, GREY, trained_classifier(tmp_path / "judge"), CLASSIFIER),
        "inception": EXTRACTORS.build(inception_spec(inception_file), GREY, None, None),
        "efficientnet_lite0": EXTRACTORS.build(EfficientnetLite0ExtractorSpec(input_size=64), GREY, None, None),
    }
    widths = {"classifier": [5, 3], "inception": [2048, 1008, 2023], "efficientnet_lite0": [1280, 1000, 7 * 4 * 4]}
    missing = [kind for kind in EXTRACTORS if kind not in built]
    assert not missing, f"add an example of {missing} to this test"
    batch = torch.from_numpy(np.random.default_rng(0).integers(256, size=(4, 1, 8, 8), dtype=np.uint8))
    for kind, extractor in built.items():
        found = extractor.module.convert_features_tuple_to_dict(extractor.module(batch))
        layers = [extractor.features, extractor.logits, extractor.spatial]
        assert list(found) == [layer for layer in layers if layer is not None]
        assert len(found) == len(EXTRACTORS.spec(kind).layers)
        assert [tuple(features.shape) for features in found.values()] == [(4, width) for width in widths[kind]]
        assert not any(features.requires_grad for features in found.values())
        assert extractor.name.startswith(kind.replace("_", "-"))
        assert extractor.facts["extractor"] == extractor.name


def test_the_classifier_sees_what_it_was_trained_on(tmp_path: Path) -> None:
    artifact = trained_classifier(tmp_path / "judge")
    extractor = EXTRACTORS.build(CLASSIFIER_SPEC, GREY, artifact, CLASSIFIER)
    torch.manual_seed(0)
    classifier = SystemModules(CLASSIFIER, GREY).module("classifier").eval()
    images = torch.arange(64, dtype=torch.uint8).mul(4).view(1, 1, 8, 8)
    expected = classifier(images / 127.5 - 1)
    for found, wanted in zip(extractor.module(images), expected, strict=True):
        torch.testing.assert_close(found, wanted.detach())
    assert extractor.facts["extractor_accuracy"] == 0.97


def test_the_classifiers_name_is_its_content(tmp_path: Path) -> None:
    names = [
        EXTRACTORS.build(CLASSIFIER_SPEC, GREY, trained_classifier(tmp_path / folder, seed), CLASSIFIER).name
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert names[0] == names[1] != names[2]


def test_a_classifier_for_other_classes_does_not_fit(tmp_path: Path) -> None:
    artifact = trained_classifier(tmp_path / "judge", shapes=GREY.model_copy(update={"num_classes": 4}))
    with pytest.raises(ArtifactError, match=r"does not fit the system: classifier\."):
        EXTRACTORS.build(CLASSIFIER_SPEC, GREY, artifact, CLASSIFIER)


@pytest.mark.slow
def test_inception_gives_pooled_features_logits_without_bias_and_the_first_branch_of_mixed_6d(
    inception_file: Path,
) -> None:
    """Layer by layer, on images of 299 pixels, which are not resized."""
    shapes = Shapes(channels=3, size=299, num_classes=3)
    extractor = EXTRACTORS.build(inception_spec(inception_file), shapes, None, None)
    layers = dict(extractor.module.named_children())
    images = torch.from_numpy(np.random.default_rng(0).integers(256, size=(1, 3, 299, 299), dtype=np.uint8))
    before = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
    before += ["MaxPool_2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c"]
    with torch.no_grad():
        h = (images.float() - 128) / 128
        for name in before:
            h = layers[name](h)
        branch = layers["Mixed_6d"].branch1x1
        spatial = torch.relu(branch.bn(branch.conv(h)))[:, :7]
        for name in ("Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"):
            h = layers[name](h)
        features = h.mean((2, 3))
        found = extractor.module(images)
    assert spatial.shape == (1, 7, 17, 17)
    for ours, wanted in zip(found, (features, features @ layers["fc"].weight.T, spatial.flatten(1)), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
    assert extractor.facts["extractor_input"] == "RGB"


def test_efficientnet_lite0_knows_a_cat_and_its_features_are_those_before_the_classifier() -> None:
    """285 is ImageNet's Egyptian cat: the photograph shows one of the domestic ones, 281 to 285."""
    shapes = Shapes(channels=3, size=300, num_classes=3)
    extractor = EXTRACTORS.build(EfficientnetLite0ExtractorSpec(), shapes, None, None)
    image = torch.from_numpy(skimage.data.chelsea().copy()).permute(2, 0, 1)[None]
    features, logits, spatial = extractor.module(image)
    assert 281 <= logits.argmax().item() <= 285
    classifier = extractor.module.network.classifier
    torch.testing.assert_close(features @ classifier.weight.T + classifier.bias, logits)
    assert spatial.shape == (1, 7 * 14 * 14)
    network = timm.create_model("efficientnet_lite0", features_only=True, out_indices=[3]).eval()
    network.load_state_dict(extractor.module.network.state_dict(), strict=False)
    resized = F.interpolate(image.float(), (224, 224), mode="bilinear", antialias=True)
    (wanted,) = network((resized - 127) / 128)
    torch.testing.assert_close(spatial, wanted[:, :7].flatten(1).detach(), rtol=1e-4, atol=1e-4)


def test_the_name_of_efficientnet_lite0_tells_its_size_of_input() -> None:
    names = [
        EXTRACTORS.build(EfficientnetLite0ExtractorSpec(input_size=size), GREY, None, None).name for size in (64, 32)
    ]
    assert names[0] != names[1]


@pytest.mark.slow
def test_inception_sees_grey_images_as_rgb(inception_file: Path) -> None:
    extractor = EXTRACTORS.build(inception_spec(inception_file), GREY, None, None)
    grey = torch.arange(64, dtype=torch.uint8).mul(4).view(1, 1, 8, 8)
    for found, wanted in zip(extractor.module(grey), extractor.module(grey.repeat(1, 3, 1, 1)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert extractor.facts["extractor_input"] == "grey repeated to three channels"


@pytest.mark.fault("weights from outside")
def test_inception_that_is_not_there_says_what_is_missing_and_where(tmp_path: Path) -> None:
    path, digest = tmp_path / "inception.pth", "ab" * 32
    with pytest.raises(ArtifactError) as error:
        EXTRACTORS.build(inception_spec(path, digest), GREY, None, None)
    assert str(error.value) == (
        f"{path}: missing: put torch-fidelity's Inception weights "
        f"(weights-inception-2015-12-05-6726825d.pth) there, SHA-256 {digest}"
    )


@pytest.mark.fault("weights from outside")
def test_inception_of_another_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    path.write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=f"SHA-256 {sha256_of(path)}, the spec says {'ab' * 32}"):
        EXTRACTORS.build(inception_spec(path, "ab" * 32), GREY, None, None)


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.fault("code in files")
@pytest.mark.parametrize("content", ["tensors", "code"])
def test_a_file_of_something_else_is_refused_and_not_executed(content: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "inception.pth", tmp_path / "executed"
    torch.save({"weight": torch.zeros(1)} if content == "tensors" else Malicious(trace), path)
    with pytest.raises(ArtifactError, match="not torch-fidelity's Inception weights"):
        EXTRACTORS.build(inception_spec(path), GREY, None, None)
    assert not trace.exists()
