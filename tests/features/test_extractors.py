"""Feature extractors: what every one must do, and what is refused as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from artifacts import store_artifact, train_facts
from measuring import context_of, value
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.classifiers.convnet.spec import ConvnetSpec
from mimflow.errors import ArtifactError
from mimflow.features.registry import EXTRACTORS
from mimflow.features.spec import ClassifierExtractorSpec, InceptionExtractorSpec
from mimflow.metrics.context import ImageRows
from mimflow.metrics.spec import IsSpec, KidSpec
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
def test_every_extractor_has_an_example(tmp_path: Path, inception_file: Path) -> None:
    built = {
        "classifier": EXTRACTORS.build(CLASSIFIER_SPEC, GREY, trained_classifier(tmp_path / "judge"), CLASSIFIER),
        "inception": EXTRACTORS.build(inception_spec(inception_file), GREY, None, None),
    }
    missing = [kind for kind in EXTRACTORS if kind not in built]
    assert not missing, f"add an example of {missing} to this test"
    images = ImageRows(np.random.default_rng(0).integers(256, size=(4, 8, 8, 1), dtype=np.uint8))
    batch = torch.stack([images[index] for index in range(4)])
    for kind, extractor in built.items():
        features, logits = extractor.module(batch)
        assert features.shape == (4, 5 if kind == "classifier" else 2048)
        assert logits.shape == (4, 3 if kind == "classifier" else 1008)
        assert not features.requires_grad
        assert extractor.module.get_requested_features_list() == [extractor.features, extractor.logits]
        assert extractor.name.startswith(f"{kind}-")
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
def test_inception_gives_torch_fidelitys_own_numbers(inception_file: Path, tmp_path: Path) -> None:
    shapes = Shapes(channels=3, size=8, num_classes=3)
    extractor = EXTRACTORS.build(inception_spec(inception_file), shapes, None, None)
    random = np.random.default_rng(0)
    samples, reference = random.integers(256, size=(2, 4, 8, 8, 3), dtype=np.uint8)
    context = context_of(samples, reference, tmp_path, extractor=extractor)
    theirs = torch_fidelity.calculate_metrics(
        input1=ImageRows(samples),
        input2=ImageRows(reference),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception_file),
        isc=True,
        isc_splits=1,
        kid=True,
        kid_subset_size=4,
        kid_subsets=1,
        cuda=False,
        save_cpu_ram=True,
        verbose=False,
    )
    assert value(IsSpec(splits=1), context) == theirs["inception_score_mean"]
    assert value(KidSpec(subset_size=4, subsets=1), context) == theirs["kernel_inception_distance_mean"]
    assert extractor.facts["extractor_input"] == "RGB"


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
