"""The user's own images go the whole way by a path in a spec; the paper's spec trains on such a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from photographs import write_photographs
from projects import REPOSITORY, cli, edit, new_project, result_of, snakemake

from mimflow.errors import DataError
from mimflow.products.registry import open_plan
from mimflow.products.render import render_product
from mimflow.stages.runner import run_job

DATASET = """\
label: photographs
source: {kind: image_folder, path: data/photographs}
transform: {size: 8, method: bilinear}
split: {kind: folders}
channels: 3
num_classes: 3
workers: 2
"""


@pytest.mark.slow
def test_a_folder_of_photographs_goes_the_whole_way(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    write_photographs(project / "data/photographs", train=40, val=10)
    (project / "specs/datasets/photographs.yaml").write_text(DATASET)
    for name in ("mini/tarflow", "mini/gaussian", "mini/classifier", "protocols/digits-200"):
        edit(project, name, "dataset: digits", "dataset: photographs")
    edit(project, "protocols/digits-200", "count: 200, batch_size: 100", "count: 60, batch_size: 30")
    with pytest.raises(
        DataError, match=r"the images in data/photographs are not pinned yet \(`mimflow data lock photo"
    ):
        cli(project, "plan", "table1")
    assert "150 images" in cli(project, "data", "lock")
    plan = open_plan(project)
    product = plan.product("table1")
    for last in product.jobs().values():
        for job in (*last.upstream(), last):
            run_job(plan, job)
    render_product(product)
    text = (project / "results/table1.md").read_text()
    assert "FID-60" in text and "photographs" in text
    manifest = result_of(project, "data", "photographs") / "manifest.json"
    facts = json.loads(manifest.read_text())["facts"]
    assert facts["images"] == {"train": 120, "val": 30} and facts["skipped"] == 0
    assert "Nothing to be done" in snakemake(project)


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """The paper's ImageNet-64 spec on a folder of photographs, nothing overridden but sizes."""
    write_photographs(tmp_path / "data/imagenet", train=4, val=1)
    for folder in ("systems", "datasets", "weights"):
        shutil.copytree(REPOSITORY / "specs" / folder, tmp_path / "specs" / folder)
    (tmp_path / "specs/datasets/small.yaml").write_text("extends: imagenet64.yaml\noverrides: {num_classes: 3}\n")
    (tmp_path / "specs/systems/small.yaml").write_text(
        "extends: tarflow-imagenet64-cond.yaml\n"
        "dataset: small\n"
        "overrides:\n"
        "  prior.width: 64\n"
        "  prior.blocks: [1, 1]\n"
        "  phases.main.batch_size: 4\n"
        "  phases.main.accumulate: 1\n"
        "  phases.main.epochs: 0.25\n"
        "  phases.main.schedule.warmup_epochs: 0\n"
        "  compute.threads: 1\n"
    )
    return tmp_path


@pytest.mark.slow
def test_the_papers_spec_trains_a_step_on_a_folder(paper: Path) -> None:
    plan = open_plan(paper)
    run_job(plan, plan.job("small"))
    artifact = run_job(plan, plan.job("small.main.s0"))
    facts = artifact.manifest.facts
    assert facts["steps"] == 1 and np.isfinite(facts["final"]["loss"])
    assert artifact.manifest.task["phase"]["precision"] == "bf16"
