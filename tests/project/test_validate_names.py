"""`mimflow validate NAME` says valid only of what is: the base, what it names, every spec of that name."""

from __future__ import annotations

from pathlib import Path

import pytest
from specs_project import CLASSIFIER, DATASET, RUN, make_specs, problems, write

from mimflow.errors import PlanError, SpecError
from mimflow.products.registry import open_workspace
from mimflow.project.inspection import check

pytestmark = [pytest.mark.slow, pytest.mark.fault("validation")]

PROTOCOL = """\
dataset: digits
samples: {count: 20}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}]
"""
TABLE = "title: A table\nprotocol: small\nrows: [{run: tarflow}]\ncolumns: [unguided.fid]\n"
FAST = "specs/mini/tarflow.yaml:9:34: phases.main.optimizer.lr: got the text 'fast', wanted a number"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_specs(tmp_path)
    write(tmp_path, "protocols/small", PROTOCOL)
    write(tmp_path, "tables/t", TABLE)
    return tmp_path


def refused(project: Path, *names: str) -> str:
    with pytest.raises((SpecError, PlanError)) as caught:
        check(open_workspace(project), list(names))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_metric_of_what_the_extractor_does_not_give(project: Path) -> None:
    write(project, "protocols/small", PROTOCOL.replace("{kind: fid}", "{kind: fid}, {kind: sfid}"))
    assert refused(project, "small") == (
        "specs/protocols/small.yaml:4:31: metrics.1.kind: metric 'sfid' looks at spatial features, which extractor "
        "'classifier' lacks (leave it out, or an extractor that gives them: inception, efficientnet_lite0)"
    )
    lite0 = PROTOCOL.replace("{kind: classifier, weights: {run: classifier}}", "{kind: efficientnet_lite0}")
    write(project, "protocols/small", lite0.replace("{kind: fid}", "{kind: fid}, {kind: sfid}"))
    assert check(open_workspace(project), ["small"]) == "valid: specs/protocols/small.yaml"


def test_a_mistake_in_the_base(project: Path) -> None:
    write(project, "mini/child", "extends: tarflow.yaml\nlabel: child\n")
    write(project, "mini/tarflow", RUN.replace("lr: 1e-3", "lr: fast"))
    assert refused(project, "child") == refused(project, "specs/mini/child.yaml") == FAST


def test_a_mistake_in_the_base_that_is_put_right(project: Path) -> None:
    write(project, "mini/child", "extends: tarflow.yaml\noverrides: {phases.main.optimizer.lr: 1e-3}\n")
    write(project, "mini/tarflow", RUN.replace("lr: 1e-3", "lr: fast"))
    assert check(open_workspace(project), ["child"]) == "valid: specs/mini/child.yaml"


def test_a_base_that_is_no_yaml(project: Path) -> None:
    (project / "specs/bases").mkdir()
    (project / "specs/bases/b.yaml").write_text("a: [")
    write(project, "mini/child", "extends: ../bases/b.yaml\n")
    assert "specs/bases/b.yaml:2:1: not YAML" in refused(project, "child")


@pytest.mark.parametrize("name", ["t", "small"])
def test_a_mistake_in_what_is_named_by_what_is_named(project: Path, name: str) -> None:
    write(project, "mini/classifier", CLASSIFIER.replace("widths: [8]", "widths: [wide]"))
    assert "specs/mini/classifier.yaml:2:38: classifier.widths.0: got the text 'wide'" in refused(project, name)
    assert check(open_workspace(project), ["tarflow"]) == "valid: specs/mini/tarflow.yaml"


def test_a_mistake_in_a_variant(project: Path) -> None:
    write(project, "ablations/a", "run: tarflow\ngrid: {prior.width: [16, 9]}\n")
    write(project, "tables/t", TABLE.replace("{run: tarflow}", "{ablation: a}"))
    for name in ("a", "a-width-9", "t"):
        assert "heads of 8 do not divide the width 9" in refused(project, name)
    assert check(open_workspace(project), ["a-width-16"]) == "valid: a-width-16"


def test_every_kind_of_a_name(project: Path) -> None:
    write(project, "datasets/tarflow", DATASET.replace("size: 8", "size: 0"))
    assert "specs/datasets/tarflow.yaml:2:19: transform.size: got 0" in refused(project, "tarflow")
    write(project, "datasets/tarflow", DATASET)
    assert check(open_workspace(project), ["tarflow"]) == "valid: specs/datasets/tarflow.yaml, specs/mini/tarflow.yaml"


@pytest.mark.parametrize("name", ["mini/x.yml", "elsewhere/x.yaml", "x.yaml", "mini/.x.yaml"])
def test_files_that_are_not_read(project: Path, name: str) -> None:
    path = project / "specs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("nonsense")
    where = "specs end in .yaml and lie in the folders weights, datasets, systems, mini, ablations, protocols, "
    assert f"specs/{name}: not read as a spec ({where}" in refused(project, f"specs/{name}")
    told = check(open_workspace(project), [])
    assert told.startswith("valid: ") and (f"not read, because {where}" in told) == ("/." not in name)
    assert "no spec named 'x'" in refused(project, "x")


def test_names_that_no_file_can_have(project: Path) -> None:
    for name in ("a\0/b.yaml", "a" * 300 + ".yaml", "none/x.yaml"):
        assert "Traceback" not in refused(project, name)


def test_a_base_without_kind_keeps_its_values(project: Path) -> None:
    write(project, "mini/base", RUN.replace("prior: {kind: tarflow, width: 16,", "prior: {width: 32,"))
    write(project, "mini/child", "extends: base.yaml\nprior: {kind: tarflow}\n")
    assert open_workspace(project).runs["child"].spec.prior.width == 32
    write(project, "mini/other", "extends: tarflow.yaml\nprior: {kind: class_gaussian, ridge: 0.1}\n")
    assert "width" not in " ".join(line for line in problems(project) if "other" in line)


def test_items_that_are_called_kind_are_merged(project: Path) -> None:
    write(project, "mini/base", RUN.replace("  tune:", "  kind:"))
    write(project, "mini/child", "extends: base.yaml\nphases: {kind: {steps: 7}}\n")
    phases = open_workspace(project).runs["child"].spec.phases
    assert (phases["main"].steps, phases["kind"].steps) == (10, 7)


SCHEDULES = {
    "steps": ("schedule: {warmup_steps: 11}", "phases.main.schedule.warmup_steps: 11 steps of warm-up, the phase has 10 (fewer)"),
    "epochs of a phase in steps": ("schedule: {warmup_epochs: 1}", "warmup_epochs: 1 epochs of warm-up, the phase has 10 steps, and an epoch 187 (fewer)"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_warm_up_longer_than_the_phase(project: Path, case: str) -> None:
    text, expected = SCHEDULES[case]
    write(project, "mini/tarflow", RUN.replace("    steps: 10\n", f"    steps: 10\n    {text}\n"))
    assert [expected in line for line in problems(project)] == [True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("warmup_epochs: 2", "warmup_epochs: 2 epochs of warm-up, the phase has 1"),
        ("warmup_steps: 188", "warmup_steps: 188 steps of warm-up, the phase has 1 epochs of 187"),
    ],
)
def test_a_warm_up_longer_than_a_phase_in_epochs(project: Path, text: str, expected: str) -> None:
    phase = f"    epochs: 1\n    schedule: {{{text}}}\n"
    write(project, "mini/tarflow", RUN.replace("    steps: 10\n", phase))
    assert [expected in line for line in problems(project)] == [True]
    write(project, "mini/tarflow", RUN.replace("    steps: 10\n", phase.replace("2", "1").replace("188", "187")))
    assert problems(project) == []


def test_a_reference_larger_than_a_split_of_ones_own_images(project: Path) -> None:
    dataset = DATASET.replace("{kind: digits}", "{kind: image_folder, path: x}").replace(
        "{size: 8}", "{size: 8, method: adm}"
    )
    write(project, "datasets/digits", dataset)
    write(project, "protocols/small", PROTOCOL + "reference: {split: val, count: 298}\n")
    assert ["reference.count: 298 images, split 'val' of 'digits' has 297" in line for line in problems(project)] == [
        True
    ]


TWICE = {
    "a seed": ("rows:", "seeds: [1, 1]\nrows:", "seeds: a seed twice: [1, 1] (each once)"),
    "no seed": ("rows:", "seeds: []\nrows:", "seeds: empty (leave it out for each run's own)"),
    "a run": ("{run: tarflow}", "{run: tarflow}, {run: tarflow}", "rows.1.run: run 'tarflow' is in a row before (each run once)"),
    "a metric": ("[unguided.fid]", "[unguided.fid, {output: unguided, metrics: [{metric: fid, digits: 3}]}]", "columns.1.metrics.0.metric: metric 'fid' of output 'unguided' twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", TWICE)
def test_twice_in_a_table(project: Path, case: str) -> None:
    old, new, expected = TWICE[case]
    write(project, "tables/t", TABLE.replace(old, new))
    found = open_workspace(project).problems
    assert [expected in line for line in found] == [True], found
