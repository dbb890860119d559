"""What the command line asks for and no spec does: other people's samples are measured, references are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import train_facts
from PIL import Image
from scipy.linalg import sqrtm
from specs_project import CLASSIFIER, DATASET, FLOW, write
from tables_project import put
from typer.testing import CliRunner

from mimflow.cli import app
from mimflow.compute.spec import Compute
from mimflow.errors import ArtifactError, PlanError
from mimflow.metrics.reference.spec import SplitReferenceSpec
from mimflow.plan.build import Plan
from mimflow.plan.handover import hand_over
from mimflow.products.registry import open_plan, open_workspace
from mimflow.products.render import render_product
from mimflow.stages.asked import make_reference, measure
from mimflow.stages.runner import run_job
from mimflow.system.modules import SystemModules
from mimflow.weights.tensors import save_state

pytestmark = pytest.mark.slow

PROTOCOL = """\
label: in the features of a small classifier
dataset: digits
samples: {count: 200, labels: balanced}
reference: {split: train}
extractor: {kind: classifier, weights: {run: classifier}}
metrics:
  - {kind: fid}
  - {kind: is, splits: 2}
  - {kind: precision_recall, reference: {split: train, count: 100}}
  - {kind: class_accuracy}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project on digits whose classifier is there, untrained; nothing else is."""
    write(tmp_path, "datasets/digits", DATASET)
    write(tmp_path, "mini/classifier", CLASSIFIER)
    write(tmp_path, "protocols/small", PROTOCOL)
    job = open_plan(tmp_path).job("classifier.main.s0")
    torch.manual_seed(0)
    folder = tmp_path / job.folder
    folder.mkdir(parents=True)
    save_state(SystemModules(job.task.system, job.task.shapes).state_dict(), folder / "weights.safetensors")
    put(tmp_path, job, train_facts({"accuracy": 0.1}))
    return tmp_path


def plan_of(project: Path) -> Plan:
    return open_plan(project)


def random_images(count: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 8, 8, 1), dtype=np.uint8)


LABELS = np.arange(200) % 10


def npz(path: Path, *arrays: np.ndarray, compressed: bool = False, **named: np.ndarray) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, *arrays, **named)
    return path


def numbers(project: Path, samples: Path, labels: Path | None = None) -> dict[str, float | None]:
    out = project / "numbers.json"
    measure(plan_of(project), samples, "small", labels, out)
    metrics = json.loads(out.read_text(encoding="utf-8"))["metrics"]
    return {name: found["value"] for name, found in metrics.items()}


def test_an_archive_gets_numbers_with_their_protocol(project: Path) -> None:
    samples = npz(project / "theirs.npz", random_images(), LABELS)
    text = measure(plan_of(project), samples, "small", None, project / "out.json")
    lines = text.splitlines()
    assert lines[0] == f"{samples} under small"
    assert [line.split()[0] for line in lines[1:6]] == ["FID-200", "IS", "Precision", "Recall", "Accuracy"]
    assert "  Protocol                           small: in the features of a small classifier" in lines
    assert any(line.startswith("  Reference  ") and "1,500 images of the train split" in line for line in lines)
    own = "  Reference of Precision and Recall  100 images of the train split of digits"
    assert own in lines
    found = json.loads((project / "out.json").read_text(encoding="utf-8"))
    assert (found["protocol"], found["count"]) == ("small", 200)
    assert found["metrics"].keys() == {"fid", "is", "precision", "recall", "class_accuracy"}
    assert found["samples"]["sha256"] in text


def test_the_numbers_are_those_of_the_definition(project: Path) -> None:
    """Features by the network itself; mean, covariance and root by NumPy and SciPy."""
    images = random_images()
    found = numbers(project, npz(project / "theirs.npz", images, LABELS))
    plan = plan_of(project)
    job = plan.job("classifier.main.s0")
    torch.manual_seed(0)
    network = SystemModules(job.task.system, job.task.shapes).module("classifier").eval()
    real = np.load(project / plan.job("digits").folder / "train.images.npy")
    features = []
    for pixels in (images, real):
        with torch.no_grad():
            pooled, logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1)
        features.append(pooled.double().numpy())
        if pixels is images:
            right = float((logits.argmax(1).numpy() == LABELS).mean())
    means, covariances = [each.mean(0) for each in features], [np.cov(each, rowvar=False) for each in features]
    distance = np.square(means[0] - means[1]).sum()
    distance += np.trace(covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert found["fid"] == pytest.approx(distance, rel=1e-3)
    assert found["class_accuracy"] == right


def test_order_compression_and_a_folder_change_no_number(project: Path) -> None:
    images = random_images()
    expected = numbers(project, npz(project / "theirs.npz", images, LABELS))
    turned = npz(project / "turned.npz", images[::-1], LABELS[::-1], compressed=True)
    folder = project / "images"
    for place, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        path = folder / f"class{label}" / f"{place:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    for samples in (turned, folder):
        assert numbers(project, samples) == pytest.approx(expected, rel=1e-5)


def test_labels_may_be_a_file_of_their_own(project: Path) -> None:
    samples = npz(project / "theirs.npz", random_images())
    assert numbers(project, samples)["class_accuracy"] is None
    (project / "labels.txt").write_text("\n".join(map(str, LABELS)), encoding="utf-8")
    np.save(project / "labels.npy", LABELS)
    by_text, by_array = (numbers(project, samples, project / f"labels.{end}") for end in ("txt", "npy"))
    assert by_text["class_accuracy"] is not None and by_text == by_array


def floats(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 127.5 - 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": floats(random_images())}, r"arr_0 is float32 200×8×8×1: numbers with a point, wanted uint8"),
        ({"arr_0": random_images().reshape(200, 1, 8, 8)}, r"channels come first \(x.transpose\(0, 2, 3, 1\)"),
        ({"arr_0": random_images()[..., 0]}, r"grey images without an axis of channels \(x\[..., None\] has one\)"),
        ({"arr_0": random_images(50).reshape(200, 4, 4, 1)}, r"the protocol's images are 8×8×1"),
        ({"arr_0": random_images().repeat(3, 3)}, r"the protocol's images are 8×8×1 .*not with 3 channels"),
        ({"arr_0": random_images(150)}, r"150 images, the protocol measures 200: .* \(draw the others"),
        ({"images": random_images()}, r"no arr_0, it holds images \(uint8 200×8×8×1\)"),
        ({"arr_0": random_images(), "arr_1": LABELS % 8}, r"no samples of 2 of 10 classes: 8, 9"),
        ({"arr_0": random_images(), "arr_1": LABELS + 1}, r"class 10, the data set's are 0 … 9 \(count from 0\)"),
        ({"arr_0": random_images(), "arr_1": LABELS[:-1]}, r"199 classes of 200 images"),
        ({"arr_0": random_images(), "arr_1": np.r_[LABELS[:-1], 0]}, r"19 to 21 samples of a class"),
        ({"arr_0": np.array([None, {}])}, r"arr_0 is object 2"),
    ],
)
def test_what_is_not_right_is_said_with_what_would_be(
    arrays: dict[str, np.ndarray], message: str, project: Path
) -> None:
    samples = npz(project / "theirs.npz", **arrays)
    with pytest.raises(ArtifactError, match=message):
        measure(plan_of(project), samples, "small", None, None)
    assert not list((project / "results/store").glob("evaluations/*"))


def test_a_file_cut_short_is_no_archive_and_a_header_that_lies_allocates_nothing(project: Path) -> None:
    samples = npz(project / "theirs.npz", random_images(), LABELS)
    content = samples.read_bytes()
    samples.write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=r"theirs\.npz: cut short, or no \.npz"):
        measure(plan_of(project), samples, "small", None, None)
    lying = content.replace(b"(200, 8, 8, 1)", b"(900000000,8,)")
    samples.write_bytes(lying)
    with pytest.raises(ArtifactError, match=r"(cut short|4 axes)"):
        measure(plan_of(project), samples, "small", None, None)


def test_a_folder_of_photographs_of_another_size_is_refused_by_name(project: Path) -> None:
    skimage = pytest.importorskip("skimage.data")
    folder = project / "photographs"
    folder.mkdir()
    for name in ("astronaut", "camera"):
        Image.fromarray(getattr(skimage, name)()).save(folder / f"{name}.png")
    with pytest.raises(ArtifactError, match=r"astronaut\.png: 512×512 pixels, the protocol's images are 8×8"):
        measure(plan_of(project), folder, "small", None, None)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ArtifactError, match="no images in it"):
        measure(plan_of(project), folder, "small", None, None)


def test_names_that_nothing_has_are_said(project: Path) -> None:
    with pytest.raises(PlanError, match=r"no protocol named 'smal' .*did you mean 'small'"):
        measure(plan_of(project), project / "none.npz", "smal", None, None)
    with pytest.raises(ArtifactError, match=r"none\.npz: missing"):
        measure(plan_of(project), project / "none.npz", "small", None, None)


def test_the_command_line_does_jobs_and_measures_samples(project: Path) -> None:
    """`reference` is a stage with a verb of its own, and `evaluate` takes a job or samples."""
    plan = plan_of(project)
    run_job(plan, plan.prepare("digits"))
    job = plan.reference("small", SplitReferenceSpec(), False, Compute())
    hand_over(plan, job)
    runner = CliRunner()
    done = runner.invoke(app, ["reference", job.id, "--planned", "--project", str(project)])
    assert done.exit_code == 0 and job.done(project), done.exception
    samples, out = npz(project / "theirs.npz", random_images(), LABELS), project / "made.npz"
    words = ["--samples", str(samples), "--project", str(project)]
    done = runner.invoke(app, ["evaluate", *words, "--protocol", "small"])
    assert done.exit_code == 0 and "FID-200" in done.stdout, done.exception
    done = runner.invoke(
        app, ["reference", "make", "small", "--split", "val", "--out", str(out), "--project", str(project)]
    )
    assert "297 images, val split of digits" in done.stdout and out.is_file(), done.exception
    done = runner.invoke(app, ["evaluate", *words])
    assert isinstance(done.exception, PlanError) and "give a job, or samples and a protocol" in str(done.exception)


# -- references ------------------------------------------------------------------------------------------------------


def test_a_reference_is_written_as_others_read_it_and_read_as_others_write_it(project: Path) -> None:
    out = project / "reference.npz"
    text = make_reference(plan_of(project), "small", None, None, out)
    assert text.startswith(f"{out}: 1,500 images, train split of digits, classifier-")
    with np.load(out) as archive:
        assert archive.files == ["mu", "sigma"]
        assert (archive["mu"].dtype, archive["sigma"].shape) == (np.float64, 2 * archive["mu"].shape)
    samples = npz(project / "theirs.npz", random_images(), LABELS)
    own = numbers(project, samples)
    digest = text.rpartition(" ")[2]
    given = f"reference: {{kind: statistics, archive: {{file: reference.npz, sha256: {digest}}}}}"
    write(project, "protocols/small", PROTOCOL.replace("reference: {split: train}\n", f"{given}\n"))
    assert numbers(project, samples)["fid"] == own["fid"]


def test_images_in_a_file_are_a_reference(project: Path) -> None:
    images = random_images(120, seed=3)
    archive = npz(project / "batch.npz", images)
    from mimflow.artifacts.manifest import sha256_of

    given = f"{{kind: images, archive: {{file: batch.npz, sha256: {sha256_of(archive)}}}}}"
    text = PROTOCOL.replace("reference: {split: train}\n", f"reference: {given}\n")
    write(
        project,
        "protocols/small",
        text.replace("{split: train, count: 100}", given).replace("count: 200", "count: 120"),
    )
    found = numbers(project, npz(project / "theirs.npz", images))
    assert found["fid"] == pytest.approx(0, abs=1e-4)
    assert (found["precision"], found["recall"]) == (1, 1)


def test_statistics_alone_have_no_features(project: Path) -> None:
    statistics = "{kind: statistics, archive: {file: a.npz, sha256: null}}"
    write(project, "protocols/small", PROTOCOL.replace("{split: train, count: 100}", statistics))
    (line,) = open_workspace(project).problems
    assert "metrics.2.reference.kind: 'precision_recall' needs features of each reference image" in line
    write(project, "protocols/small", PROTOCOL.replace("{kind: fid}", "{kind: is, reference: {split: val}}"))
    assert any(
        "metrics.0.reference: 'is' compares images with nothing" in each for each in open_workspace(project).problems
    )
    write(project, "protocols/small", PROTOCOL.replace("{split: train}", "{kind: spilt}"))
    (line,) = open_workspace(project).problems
    assert "reference.kind: got 'spilt', wanted one of split, images, statistics (did you mean 'split'?)" in line


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": random_images(3)}, r"no mu and sigma, it holds arr_0 .*of kind images"),
        ({"mu": np.zeros(5), "sigma": np.eye(5)}, r"mu is of 5 features, the protocol's extractor gives \d+"),
        ({"mu": np.zeros(5), "sigma": np.eye(4)}, r"mu is float64 5 and sigma float64 4×4"),
        ({"mu": np.full(5, np.nan), "sigma": np.eye(5)}, r"mu or sigma is not finite"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray], message: str, project: Path) -> None:
    from mimflow.artifacts.manifest import sha256_of

    archive = npz(project / "stats.npz", **arrays)
    given = f"{{kind: statistics, archive: {{file: stats.npz, sha256: {sha256_of(archive)}}}}}"
    write(project, "protocols/small", PROTOCOL.replace("reference: {split: train}\n", f"reference: {given}\n"))
    with pytest.raises(ArtifactError, match=message):
        make_reference(plan_of(project), "small", None, None, project / "out.npz")


# -- tables ----------------------------------------------------------------------------------------------------------


def test_other_peoples_samples_stand_in_a_table_under_each_protocol(project: Path) -> None:
    samples = npz(project / "theirs.npz", random_images(), LABELS)
    write(project, "protocols/val", PROTOCOL.replace("{split: train}", "{split: val}"))
    row = "{samples: {file: theirs.npz, sha256: DIGEST, label: Theirs}, output: guided}"
    columns = "[{output: guided, metrics: [fid, is]}, {output: guided, protocol: val, metrics: [fid]}]"
    table = f"title: T\nprotocol: small\nrows: [{row}]\ncolumns: {columns}\n"
    expected = numbers(project, samples)
    digest = json.loads((project / "numbers.json").read_text(encoding="utf-8"))["samples"]["sha256"]
    write(project, "tables/t", table.replace("DIGEST", digest))
    assert open_workspace(project).problems == []
    plan = plan_of(project)
    for job in plan.product("t").jobs().values():
        for each in (*job.upstream(), job):
            run_job(plan, each)
    render_product(plan.product("t"))
    text = (project / "results/t.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| Theirs ")]
    assert f" {expected['fid']:.1f} |" in line
    headings = text.splitlines()[2]
    assert "| Without guidance, small " in headings and "| Without guidance, val " in headings
    assert text.count("- **Protocol**: ") == 2
    assert "of the val split" in text and f"made elsewhere: theirs.npz, SHA-256 {digest}" in text
    csv = (project / "results/t.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[8] for line in csv[1:]] == ["small", "small", "val"]


def test_two_protocols_share_no_column(project: Path) -> None:
    write(project, "mini/tarflow", FLOW + "outputs:\n  guided: {kind: inverse, ema: false}\n")
    write(project, "datasets/others", DATASET.replace("297", "300"))
    write(project, "protocols/others", PROTOCOL.replace("dataset: digits", "dataset: others"))
    table = "title: T\nprotocol: others\nrows: [{run: tarflow}]\ncolumns: [guided.fid]\n"
    write(project, "tables/t", table)
    (line,) = open_workspace(project).problems
    assert "run 'tarflow' is on data set 'digits', protocol 'others' measures 'others'" in line
    assert "a column holds one protocol" in line
    write(
        project,
        "tables/t",
        table.replace("[guided.fid]", "[guided.fid, {output: guided, protocol: small, metrics: [fid]}]"),
    )
    assert open_workspace(project).problems == []
    twice = "[guided.fid, {output: guided, protocol: others, metrics: [fid]}]"
    write(project, "tables/t", table.replace("[guided.fid]", twice))
    assert any("metric 'fid' of output 'guided' twice" in each for each in open_workspace(project).problems)
