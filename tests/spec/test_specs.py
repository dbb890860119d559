"""Specs: every mistake is one line with its place, all at once, and tells what would be right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from specs_project import CLASSIFIER, DATASET, FLOW, write

from mimflow.errors import SpecError
from mimflow.products.registry import open_workspace

RUN = FLOW + "outputs:\n  unguided: {kind: inverse, ema: false}\n"
MASKED_AE = (
    "{kind: masked_ae, patch_size: 2, latents: 4, channels: 4, mask: {kind: none}, "
    "encoder: {width: 8, layers: 1, heads: 2}, decoder: {width: 8, layers: 1, heads: 2}}"
)


def guided_in(blocks: str) -> str:
    """A run whose output guides these blocks."""
    guidance = f"guidance: {{kind: linear, weight: 1.0, blocks: {blocks}}}"
    return RUN.replace("kind: inverse, ema: false", f"kind: inverse, ema: false, {guidance}")


PROTOCOL = """\
dataset: digits
samples: {count: 20}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}, {kind: precision_recall}]
"""
TABLE = """\
title: A table
protocol: small
rows: [{run: tarflow}]
columns: [{output: unguided, metrics: [fid]}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, "datasets/digits", DATASET)
    write(tmp_path, "mini/tarflow", RUN)
    write(tmp_path, "mini/classifier", CLASSIFIER)
    write(tmp_path, "protocols/small", PROTOCOL)
    write(tmp_path, "tables/t", TABLE)
    return tmp_path


def problems(root: Path) -> list[str]:
    return open_workspace(root).problems


def test_valid_project_has_no_problems(project: Path) -> None:
    assert problems(project) == []


MISTAKES = {
    "unknown key": (RUN + "colr: 1\n", "12:1: colr: unknown field"),
    "unknown key inside": (
        RUN.replace("std: 0.2", "sdt: 0.2"),
        "6:52: phases.main.objective.noise.sdt: unknown field (did you mean 'std'?)",
    ),
    "duplicate key": (RUN + "dataset: digits\n", "12:1: key 'dataset' twice (first at line 1)"),
    "text for a number": (
        RUN.replace("lr: 1e-3", 'lr: "1e-3"'),
        "9:34: phases.main.optimizer.lr: got the text '1e-3', wanted a number (remove the quotes)",
    ),
    "boolean for a number": (
        RUN.replace("steps: 10", "steps: true"),
        "7:12: phases.main.steps: got true, wanted a whole number",
    ),
    "fraction for a whole number": (
        RUN.replace("width: 16", "width: 16.0"),
        "3:31: prior.width: got 16.0, wanted a whole number (write 16)",
    ),
    "zero size": (
        RUN.replace("width: 16", "width: 0"),
        "3:31: prior.width: got 0, which should be greater than or equal to 1",
    ),
    "negative": (
        RUN.replace("std: 0.2", "std: -0.2"),
        "6:57: phases.main.objective.noise.std: got -0.2, which should be greater than 0",
    ),
    "not a number": (RUN.replace("std: 0.2", "std: .nan"), "6:57: .nan is not a finite number"),
    "infinite": (RUN.replace("std: 0.2", "std: -.inf"), "6:57: -.inf is not a finite number"),
    "infinite by its exponent": (
        RUN.replace("std: 0.2", "std: 1e999"),
        "6:57: 1e999 is too large for a number",
    ),
    "no": (
        RUN.replace("dataset: digits", "dataset: no"),
        "1:10: `no` is a truth value to YAML 1.1 and text to 1.2",
    ),
    "leading zero": (
        RUN.replace("steps: 10", "steps: 010"),
        "7:12: `010` is octal to YAML 1.1 and decimal to 1.2 (no leading zero, or quotes)",
    ),
    "time": (
        RUN.replace("steps: 10", "steps: 12:30:00"),
        "7:12: `12:30:00` is a number in base 60 to YAML 1.1 and text to 1.2 (quote it)",
    ),
    "date": (
        RUN + "label: 2026-01-01\n",
        "12:8: `2026-01-01` is a date to YAML 1.1 and text to 1.2 (quote it)",
    ),
    "python object": (
        RUN + "label: !!python/object:os.system x\n",
        "12:8: tag 'tag:yaml.org,2002:python/object:os.system' is not allowed",
    ),
    "tab": (RUN.replace("    steps", "\tsteps"), "(a tab: indent with spaces)"),
    "NUL byte": (RUN + "label: a\0b\n", "12:9: control character '\\x00' (remove it)"),
    "wrong encoding": (RUN.encode() + b"label: \xe9t\xe9\n", "12:8: not UTF-8 (save it as UTF-8)"),
    "merge key": (RUN + "<<: {}\n", "12:1: merge keys are YAML 1.1 (use `extends`)"),
    "alias that holds itself": (
        RUN + "seeds: &a [*a]\n",
        "nested more than 50 deep (does an alias hold itself?)",
    ),
    "empty": ("", "1:1: empty (a spec is a mapping of fields)"),
    "a list": ("- 1\n", "1:1: not a mapping"),
    "unknown kind": (
        RUN.replace("kind: tarflow", "kind: tarflo"),
        "3:15: prior.kind: got 'tarflo', wanted one of tarflow, ",
    ),
    "kind is missing": (RUN.replace("kind: tarflow, ", ""), "3:8: prior: kind is missing (kinds: tarflow, "),
    "missing field": (
        RUN.replace("width: 16, ", ""),
        "3:8: prior.width: missing (add it beside kind, head_width, blocks)",
    ),
    "patch size": (
        RUN.replace("patch_size: 2", "patch_size: 3"),
        "2:38: tokenizer.patch_size: 3 does not divide the image's 8 pixels (nearest that does: 2)",
    ),
    "heads": (
        RUN.replace("head_width: 8", "head_width: 5"),
        "3:47: prior.head_width: heads of 5 do not divide the width 16",
    ),
    "steps and epochs": (
        RUN.replace("steps: 10", "steps: 10\n    epochs: 2"),
        "7:12: phases.main.steps: give one of steps and epochs",
    ),
    "accumulate": (
        RUN.replace("batch_size: 8", "batch_size: 8\n    accumulate: 3"),
        "9:17: phases.main.accumulate: 3 parts do not divide a batch of 8",
    ),
    "more devices than parts": (
        RUN.replace("batch_size: 8", "batch_size: 8\n    accumulate: 2") + "compute: {devices: 4}\n",
        "9:17: phases.main.accumulate: 2 parts of a step can't be shared out among 4 devices (4 or more, or fewer",
    ),
    "module": (
        RUN.replace("    steps", "    trains: [priors]\n    steps"),
        "7:14: phases.main.trains.0: there is no module 'priors' (the system has: tokenizer, prior)",
    ),
    "objective without its module": (
        RUN.replace("kind: nll, noise: {kind: gaussian, std: 0.2}", "kind: cross_entropy"),
        "6:23: phases.main.objective.kind: objective 'cross_entropy' needs a classifier",
    ),
    "averaged weights that are not kept": (
        RUN.replace("ema: false", "ema: true"),
        "11:34: outputs.unguided.ema: the last phase keeps no averaged weights",
    ),
    "a tokenizer trained by the likelihood alone": (
        RUN.replace("{kind: pixel, patch_size: 2}", MASKED_AE),
        "6:5: phases.main.trains: the likelihood alone would collapse a tokenizer that is trained with it "
        "(trains: [prior])",
    ),
    "unknown data set": (
        RUN.replace("dataset: digits", "dataset: digit"),
        "1:10: dataset: there is no dataset 'digit' (did you mean 'digits'?)",
    ),
    "name with a path": (
        RUN.replace("dataset: digits", "dataset: ../digits"),
        "1:10: dataset: '../digits' can't be a name (a name is lower-case letters",
    ),
    "extends nothing": ("extends: ../systems/none.yaml\n", "1:10: extends: no file specs/systems/none.yaml"),
    "override of no path": (
        RUN + "overrides: {prior.widht: 32}\n",
        "12:13: prior.widht: unknown field (did you mean 'width'?)",
    ),
    "override of the wrong type": (
        RUN + "overrides: {prior.width: wide}\n",
        "12:26: prior.width: got the text 'wide', wanted a whole number",
    ),
    "override through a number": (
        RUN + "overrides: {prior.width.deep: 3}\n",
        "12:13: override prior.width.deep: no such path: 'deep' would be inside 16",
    ),
    "override of no item": (
        RUN + "overrides: {phases.mian.steps: 3}\n",
        "12:13: phases.mian: there is no phase 'mian' to override (did you mean 'main'?)",
    ),
    "guided blocks that are neither named nor counted": (
        guided_in("most"),
        "11:87: outputs.unguided.guidance.blocks: got 'most', wanted one of all, deep",
    ),
    "no block to guide": (
        guided_in("0"),
        "11:87: outputs.unguided.guidance.blocks: got 0, which should be greater than or equal to 1",
    ),
    "more guided blocks than there are": (
        guided_in("3"),
        "11:87: outputs.unguided.guidance.blocks: the prior has 2 blocks (fewer, or all)",
    ),
    "noise levels of a prior without": (
        RUN.replace("{kind: gaussian, std: 0.2}", "{kind: levels, t1: 0.3}"),
        "6:35: phases.main.objective.noise: prior 'tarflow' takes no noise levels (noise: {kind: gaussian, std: 0.1}, ",
    ),
    "override of a number without quotes": (
        RUN + "overrides: {phases.main.optimizer.lr: 1e-4, prior.width: '3'}\n",
        "12:58: prior.width: got the text '3', wanted a whole number (remove the quotes)",
    ),
}


@pytest.mark.fault("specs")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_a_run(project: Path, mistake: str) -> None:
    text, expected = MISTAKES[mistake]
    write(project, "mini/tarflow", text)
    found = problems(project)
    assert len(found) == 1, found
    assert found[0].startswith("specs/mini/tarflow.yaml:")
    assert expected in found[0]


def test_a_frozen_tokenizer_is_trained_by_nobody(project: Path) -> None:
    text = RUN.replace("{kind: pixel, patch_size: 2}", MASKED_AE)
    write(project, "mini/tarflow", text.replace("    steps", "    trains: [prior]\n    steps"))
    assert problems(project) == []


def test_a_number_in_exponent_notation_is_a_number(project: Path) -> None:
    write(project, "mini/other", "extends: tarflow.yaml\noverrides: {phases.main.optimizer.lr: 1e-4}\n")
    assert open_workspace(project).runs["other"].spec.phases["main"].optimizer.lr == 1e-4


@pytest.mark.fault("specs")
def test_alias_bomb(project: Path) -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    write(project, "mini/tarflow", "\n".join(lines))
    assert "more than 20000 values once aliases are expanded" in problems(project)[0]


def test_byte_order_mark_is_fine(project: Path) -> None:
    write(project, "mini/tarflow", b"\xef\xbb\xbf" + RUN.encode())
    assert problems(project) == []


@pytest.mark.fault("specs")
def test_circle_of_extends_shows_the_circle(project: Path) -> None:
    write(project, "mini/a", "extends: b.yaml\n")
    write(project, "mini/b", "extends: c.yaml\n")
    write(project, "mini/c", "extends: b.yaml\n")
    found = problems(project)
    assert any("runs in a circle: specs/mini/b.yaml → specs/mini/c.yaml → specs/mini/b.yaml" in line for line in found)
    assert not any("mini/a.yaml" in line for line in found), "a circle is told once, where it closes"


@pytest.mark.fault("specs")
def test_folder_in_place_of_a_file(project: Path) -> None:
    (project / "specs/mini/folder.yaml").mkdir()
    assert problems(project) == ["specs/mini/folder.yaml:1:1: a folder, not a file"]


@pytest.mark.fault("specs")
def test_a_pipe_and_a_device_in_place_of_a_file(project: Path) -> None:
    os.mkfifo(project / "specs/mini/pipe.yaml")
    (project / "specs/mini/zeros.yaml").symlink_to("/dev/zero")
    assert problems(project) == [
        f"specs/mini/{name}.yaml:1:1: a pipe or a device, not a file (reading it may never end)"
        for name in ("pipe", "zeros")
    ]


@pytest.mark.fault("specs")
def test_unreadable_file(project: Path) -> None:
    # Reading the start of one's own memory is an input/output error for every user, root as well.
    (project / "specs/mini/memory.yaml").symlink_to("/proc/self/mem")
    assert problems(project) == ["specs/mini/memory.yaml:1:1: can't be read: Input/output error"]


@pytest.mark.fault("specs")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("num_classes: 10", "num_classes: 12", "5:14: num_classes: 12, but 'digits' has 10"),
        ("val: 297", "val: 1797", "3:32: split.val: 1797 of 1797 images leave none to train on"),
        ("size: 8", "size: 16", "2:19: transform.size: 16, but images of 'digits' have 8 pixels a side (name a method"),
        (
            "{kind: stratified, val: 297}",
            "{kind: folders}",
            "3:15: split.kind: source 'digits' has no train and val folders",
        ),
    ],
)
def test_mistake_in_a_data_set(project: Path, old: str, new: str, expected: str) -> None:
    write(project, "datasets/digits", DATASET.replace(old, new))
    assert len(problems(project)) == 1 and expected in problems(project)[0], problems(project)


@pytest.mark.fault("specs")
def test_all_errors_at_once_and_none_repeated_by_dependants(project: Path) -> None:
    write(
        project,
        "datasets/digits",
        DATASET.replace("size: 8", "size: 0").replace("channels: 1", "channels: 2"),
    )
    found = problems(project)
    assert [line.partition(": ")[0] for line in found] == [
        "specs/datasets/digits.yaml:2:19",
        "specs/datasets/digits.yaml:4:11",
    ]


@pytest.mark.fault("specs")
@pytest.mark.parametrize("name", ["a b", "a;b", "$(x)", "-a", "{a}", "A", "a" * 65])
def test_file_names_that_can_not_be_names(project: Path, name: str) -> None:
    write(project, f"mini/{name}", RUN)
    assert f"the file's name '{name}' can't be a name" in problems(project)[0]


@pytest.mark.fault("specs")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("run: tarflow", "run: tarflw"),
            "3:14: rows.0.run: there is no run 'tarflw' (did you mean 'tarflow'?)",
        ),
        (
            ("metrics: [fid]", "metrics: [fdi]"),
            "4:40: columns.0.metrics.0: protocol 'small' reports no 'fdi' (did you mean 'fid'?)",
        ),
        (
            ("output: unguided", "output: guided"),
            "4:20: columns.0.output: no run of the table has an output 'guided'",
        ),
        (
            ("protocol: small", "protocol: smal"),
            "2:11: protocol: there is no protocol 'smal' (did you mean 'small'?)",
        ),
        (("title: A table", "title: A\ntemplate: none.j2"), "2:11: template: no file none.j2"),
        (
            ("run: tarflow", "run: classifier"),
            "3:14: rows.0.run: run 'classifier' trains the extractor that would score it",
        ),
    ],
)
def test_mistake_in_a_table(project: Path, change: tuple[str, str], expected: str) -> None:
    write(project, "tables/t", TABLE.replace(*change))
    assert any(expected in line for line in problems(project)), problems(project)


def test_rows_under_another_data_set_are_refused(project: Path) -> None:
    write(project, "datasets/other", DATASET)
    write(project, "mini/foreign", RUN.replace("dataset: digits", "dataset: other"))
    write(project, "tables/t", TABLE.replace("rows: [{run: tarflow}]", "rows: [{run: tarflow}, {run: foreign}]"))
    assert problems(project) == [
        "specs/tables/t.yaml:3:30: rows.1.run: run 'foreign' is on data set 'other', protocol 'small' measures 'digits' "
        "(a column holds one protocol: give such rows columns with a protocol of theirs, or another table)"
    ]


@pytest.mark.fault("specs")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "zip: {prior.width: [8, 16], phases.main.steps: [1]}",
            "2:6: zip: lists of different length: prior.width has 2, phases.main.steps has 1",
        ),
        (
            "grid: {prior.width: [8, 16], phases.main.steps: [" + ", ".join(map(str, range(1, 200))) + "]}",
            "grid: 398 runs, more than the 256 an ablation may have",
        ),
        ("grid: {}\nzip: {}", "gives grid and zip of grid, zip and variants (give exactly one)"),
        (
            "grid: {prior.width: [8, 9]}",
            "heads of 8 do not divide the width 9 (choose a divisor of 9) [in run 'width-width-9' of specs/ablations/width.yaml]",
        ),
        (
            "variants: [{name: a, overrides: {prior.wdith: 8}}]",
            "2:34: prior.wdith: unknown field (did you mean 'width'?)",
        ),
        ("variants: [{name: a}, {name: a}]", "2:30: variants.1.name: two variants named 'a'"),
    ],
)
def test_mistake_in_an_ablation(project: Path, text: str, expected: str) -> None:
    write(project, "ablations/width", f"run: tarflow\n{text}\n")
    assert any(expected in line for line in problems(project)), problems(project)


def test_ablations_expand_to_named_runs(project: Path) -> None:
    write(
        project,
        "ablations/size",
        "run: tarflow\ngrid: {prior.width: [8, 16], phases.main.optimizer.lr: [1e-3, 2e-3]}\n",
    )
    workspace = open_workspace(project)
    assert workspace.problems == []
    assert workspace.members("size") == [
        "size-width-8-lr-0-001",
        "size-width-8-lr-0-002",
        "size-width-16-lr-0-001",
        "size-width-16-lr-0-002",
    ]
    run = workspace.runs["size-width-16-lr-0-002"].spec
    assert (run.prior.width, run.phases["main"].optimizer.lr, run.label) == (
        16,
        2e-3,
        "tarflow, width 16, lr 0.002",
    )


def test_a_star_is_every_item_of_a_list_and_deviations_are_of_twins_alone(project: Path) -> None:
    write(
        project,
        "ablations/start",
        """\
run: tarflow
variants:
  - name: averaged
    overrides:
      phases.main.start: [{run: classifier}, {run: classifier, modules: [classifier]}]
      phases.main.start.*.modules: [classifier]
      deviations: {prior.width: "said of a run that is no twin"}
""",
    )
    workspace = open_workspace(project)
    assert workspace.problems == []
    run = workspace.runs["start-averaged"].spec
    assert [weights.modules for weights in run.phases["main"].start] == [["classifier"]] * 2
    assert run.deviations == {}


def test_parts_of_a_tokenizer_are_checked(project: Path) -> None:
    start = "    steps: 10\n    start: [{run: classifier, modules: [tokenizer.encoder]}]"
    write(project, "mini/tarflow", RUN.replace("    steps: 10", start))
    (line,) = problems(project)
    assert line.endswith(
        "phases.main.start.0.modules.0: run 'classifier' has no module 'tokenizer.encoder' (known: classifier)"
    )


def test_weights_of_another_run_are_checked(project: Path) -> None:
    start = "    steps: 10\n    start: [{run: classifier, phase: mian, ema: true}, {run: nobody}]"
    write(project, "mini/tarflow", RUN.replace("    steps: 10", start))
    first, second = problems(project)
    assert first == (
        "specs/mini/tarflow.yaml:8:38: phases.main.start.0.phase: run 'classifier' has no phase 'mian' (did you mean 'main'?)"
    )
    assert second == (
        "specs/mini/tarflow.yaml:8:62: phases.main.start.1.run: there is no run 'nobody' (known: classifier, tarflow)"
    )


def test_merging_replaces_another_kind_whole_and_merges_phases_by_name(project: Path) -> None:
    write(
        project,
        "mini/child",
        "extends: tarflow.yaml\nprior: {kind: class_gaussian, ridge: 0.1}\n"
        "phases:\n  main:\n    optimizer: {lr: 5e-4}\n",
    )
    spec = open_workspace(project).runs["child"].spec
    assert spec.prior.kind == "class_gaussian" and spec.prior.ridge == 0.1
    assert spec.phases["main"].optimizer.lr == 5e-4 and spec.phases["main"].steps == 10


def test_raise_problems_is_a_spec_error_of_exit_code_2(project: Path) -> None:
    write(project, "mini/tarflow", "")
    with pytest.raises(SpecError, match=r"tarflow\.yaml:1:1: empty") as caught:
        open_workspace(project).raise_problems()
    assert caught.value.exit_code == 2
