"""`mimflow diff`: specs of today, of revisions, and finished results."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tables_project import edit, make_project, plan_of

from mimflow.errors import PlanError, SpecError
from mimflow.products.compare import diff


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project below the root of a repository, its specs committed and its results made; then edited."""
    root = tmp_path / "below"
    make_project(root)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "below/specs"), (*identity, "commit", "-qm", "specs")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    edit(root, "mini/tarflow", "width: 16", "width: 24")
    edit(root, "datasets/digits", "val: 297", "val: 300")
    return root


def test_a_spec_and_the_same_at_a_revision(project: Path) -> None:
    assert diff(project, "HEAD:tarflow", "tarflow") == "prior.width  16 → 24"
    assert diff(project, "tarflow", "HEAD:tarflow") == "prior.width  24 → 16"
    assert diff(project, "HEAD:gaussian", "gaussian") == "no field differs"
    assert diff(project, "HEAD:digits", "digits") == "split.val  297 → 300"
    with pytest.raises(PlanError, match=r"HEAD~9: no revision with specs \(fatal: .*HEAD~9"):
        diff(project, "HEAD~9:tarflow", "tarflow")
    with pytest.raises(PlanError, match=r"no spec named 'tarfow' \(did you mean 'tarflow'\?\)"):
        diff(project, "HEAD:tarfow", "tarflow")
    with pytest.raises(PlanError, match="'HEAD:digits' is a dataset, 'tarflow' a run"):
        diff(project, "HEAD:digits", "tarflow")


def test_what_is_wrong_at_a_revision_says_which(project: Path) -> None:
    edit(project, "mini/tarflow", "batch_size", "batchsize")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(project), *identity, "commit", "-qam", "wrong"], check=True)
    edit(project, "mini/tarflow", "batchsize", "batch_size")
    with pytest.raises(SpecError, match=r"^HEAD: specs/mini/tarflow.yaml:\d+:\d+: phases.main.batchsize"):
        diff(project, "HEAD:tarflow", "tarflow")


def test_a_run_and_a_finished_result_down_to_what_it_was_made_from(project: Path) -> None:
    shutil.rmtree(project / "specs")
    subprocess.run(["git", "-C", str(project), "checkout", "-q", "--", "specs"], check=True)
    made = {name: job.folder for (_, name), job in plan_of(project).names.items()}
    edit(project, "mini/tarflow", "width: 16", "width: 24")
    edit(project, "datasets/digits", "val: 297", "val: 300")
    lines = [
        "system.prior.width        24 → 16",
        "data.dataset.split.val    300 → 297",
        "start0.system.prior.width  24 → 16",
    ]
    found = diff(project, "tarflow", made["tarflow.tune.s1"]).splitlines()
    assert [line.split() for line in found] == [line.split() for line in lines]
    assert diff(project, "HEAD:tarflow", made["tarflow.tune.s1"]) == "no field differs"
    assert diff(project, made["tarflow.tune.s1"], made["tarflow.tune.s2"]).split() == [
        "seed",
        "1",
        "→",
        "2",
        "start0.seed",
        "1",
        "→",
        "2",
    ]
    assert diff(project, made["digits"], "digits") == "dataset.split.val  297 → 300"
    of_samples = diff(project, made["tarflow.s0.guided"], "tarflow").splitlines()
    assert of_samples[0].split() == ["system.prior.width", "16", "→", "24"]
    with pytest.raises(PlanError, match="a result of stage train and one of prepare: compare two of one stage"):
        diff(project, made["tarflow.tune.s1"], made["digits"])
