"""What a plan comes to, against sums by hand and what lies on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from projects import edit, new_project

from mimflow.artifacts.manifest import FileRecord, Manifest, write_text
from mimflow.artifacts.provenance import describe_host
from mimflow.plan import paths, units
from mimflow.plan.estimate import Estimate, estimate
from mimflow.products.registry import open_plan
from mimflow.progress import RECORD


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "project")


def of(project: Path, *names: str) -> Estimate:
    plan = open_plan(project)
    return estimate(project, [plan.job(name) for name in names], plan.jobs.values())


def record(project: Path, name: str, seconds: float, size: int, gpu: str | None) -> None:
    """A result of a job as this machine would have left it, of an earlier spec."""
    job = open_plan(project).job(name)
    manifest = Manifest(
        stage=job.stage,
        name=name,
        key="0" * 64,
        task={},
        inputs={},
        files={"x": FileRecord("0" * 64, size)},
        facts={},
        made={**describe_host(), "seconds": seconds, "gpu": gpu},
    )
    write_text(project / job.folder.replace(job.id, "0" * 16) / "manifest.json", manifest.to_json())


def test_images_take_a_byte_a_channel(project: Path) -> None:
    assert of(project, "digits").bytes == 1797 * 64  # all digits, 8 × 8 grey
    assert of(project, "gaussian.s0.unguided").bytes == 200 * 64  # the protocol's samples


def test_a_transformer_takes_its_weights_averages_snapshots_and_moments(project: Path) -> None:
    # Two layers of width 32: 12 · 32² weights each. Weights, averages, three snapshots, two moments: seven of them.
    # The products of 16 tokens with one another count as 2 · 16 · 32 more a layer.
    assert of(project, "tarflow.main.s0").bytes == 4 * 7 * 2 * (12 * 32**2 + 2 * 16 * 32)


def test_what_ran_before_tells_time_disk_and_gpu(project: Path) -> None:
    record(project, "tarflow.main.s0", 1800.0, 5_000_000, "Tesla T4")
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: 2e-3")
    found = of(project, "tarflow.main.s0")
    assert found == Estimate(1, 1, 1800.0, 1800.0, 1800.0, 5_000_000)
    assert found.words == "about 30:00; 5 MB; 0.5 GPU-hours (from earlier runs here)"
    edit(project, "mini/tarflow", "outputs:", "compute: {device: cpu}\noutputs:")
    assert of(project, "tarflow.main.s0").gpu_seconds == 0


def test_chains_are_shorter_than_sums_where_jobs_run_side_by_side(project: Path) -> None:
    for name, seconds in (("tarflow.s0.guided", 30.0), ("tarflow.s0.unguided", 20.0), ("tarflow.main.s0", 100.0)):
        record(project, name, seconds, 10, None)
        shutil.move(
            project / "results/store" / ("outputs" if "s0." in name else "checkpoints") / ("0" * 16),
            project / "results/store" / ("outputs" if "s0." in name else "checkpoints") / name.replace(".", "-"),
        )
    found = of(project, "tarflow.s0.guided", "tarflow.s0.unguided", "tarflow.main.s0")
    assert (found.seconds, found.longest) == (150.0, 130.0)
    assert found.words == "about 2:30, 2:10 if side by side; 30 B (from earlier runs here)"


def test_what_is_begun_takes_what_is_left_at_its_speed(project: Path) -> None:
    record(project, "tarflow.main.s0", 1800.0, 10, None)
    folder = paths.work(project, open_plan(project).job("tarflow.main.s0").id) / "0123456789abcdef"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/step-000000020.safetensors").touch()
    # 20 steps in 10 s; it goes on from step 20 of 60.
    (folder / RECORD).write_text('{"unit": "step", "done": 25, "first": 5, "total": 60, "seconds": 10.0}')
    assert of(project, "tarflow.main.s0").seconds == 20.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(75, "1:15"), (4000, "1:06:40"), (20 * 86_400, "20 days"), (3.2e9, "101 years")]
)
def test_long_times_are_days_and_years(seconds: float, text: str) -> None:
    assert units.span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (1e6, "12 days")]
)
def test_ages_are_in_the_largest_unit_of_which_there_are_two(seconds: float, text: str) -> None:
    assert units.age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1000, "1 kB"), (3_210_000, "3.21 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_in_units_of_a_thousand(count: float, text: str) -> None:
    assert units.size(count) == text
