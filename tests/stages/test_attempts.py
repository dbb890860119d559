"""Attempts at a job: gone on with by the code and the packages that began them, and by no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from artifacts import data_facts
from projects import new_project

from mimflow.artifacts import provenance
from mimflow.artifacts.source import closure
from mimflow.errors import StorageError
from mimflow.plan import code, paths
from mimflow.plan.build import Plan
from mimflow.products.registry import open_plan
from mimflow.stages import attempts, prepare
from mimflow.stages.runner import run_job

pytestmark = pytest.mark.fault("mixed code")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return open_plan(new_project(tmp_path / "project"))


def stop_at_half(work: Path) -> None:
    (work / "half").write_text("done")
    raise StorageError("no room")


class Attempts:
    """Stands for a stage: notes what it finds of earlier attempts, and leaves half of its work or all of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: Plan):
        self.plan = plan
        self.found: list[bool] = []
        self.ends = False
        self.patch = monkeypatch
        monkeypatch.setattr(prepare, "run", self._run)

    def _run(self, task: object, inputs: object, work: Path, progress: object) -> object:
        self.found.append((work / "half").exists())
        if not self.ends:
            stop_at_half(work)
        return data_facts("ab")

    def by(self, source: str = "a", commit: str = "c1", ends: bool = False, **versions: str) -> None:
        """Run the job with a digest of the source, at a commit, with versions of packages."""
        self.ends = ends
        self.patch.setattr(code, "digest", lambda task: source * 64)
        self.patch.setattr(code, "versions", lambda packages: {"torch": "2.6.0"} | versions)
        self.patch.setattr(attempts, "git_state", lambda root: {"commit": commit, "clean": True})
        job = self.plan.job("digits")
        if ends:
            self.made = run_job(self.plan, job).manifest.made
        else:
            with pytest.raises(StorageError):
                run_job(self.plan, job)


@pytest.fixture
def attempted(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    return Attempts(monkeypatch, plan)


def test_an_attempt_is_gone_on_with_by_the_same_code(attempted: Attempts, capsys: pytest.CaptureFixture[str]) -> None:
    attempted.by()
    attempted.by(ends=True)
    assert attempted.found == [False, True]
    assert "begun before" not in capsys.readouterr().err
    assert attempted.made["source"] == "a" * 64 and "processes" not in attempted.made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "b"}, "begun before with other code: starting anew"),
        ({"torch": "2.7.0"}, "begun before with torch 2.6.0: starting anew"),
        ({"pillow": "11.0"}, "begun before with pillow missing: starting anew"),
        ({"source": "b", "torch": "2.7.0"}, "begun before with other code and torch 2.6.0: starting anew"),
    ],
    ids=["code", "version", "package", "both"],
)
def test_other_code_or_packages_start_anew_and_say_so(
    changes: dict[str, str], said: str, attempted: Attempts, capsys: pytest.CaptureFixture[str]
) -> None:
    attempted.by()
    attempted.by(**changes, ends=True)
    assert attempted.found == [False, False]
    assert said in capsys.readouterr().err
    assert attempted.made["source"] == changes.get("source", "a") * 64
    job = attempted.plan.job("digits")
    assert not paths.work(attempted.plan.workspace.root, job.id).exists()


def test_going_back_to_the_code_that_began_it_finds_the_work(attempted: Attempts) -> None:
    attempted.by("a")
    attempted.by("b")
    attempted.by("a", ends=True)
    assert attempted.found == [False, False, True]
    assert attempted.made["source"] == "a" * 64


def test_all_commits_that_an_attempt_went_through_are_in_the_manifest(attempted: Attempts) -> None:
    attempted.by(commit="c1")
    attempted.by(commit="c2")
    attempted.by(commit="c2", ends=True)
    assert attempted.made["git"] == {"commit": "c2", "clean": True}
    assert [process["git"]["commit"] for process in attempted.made["processes"]] == ["c1", "c2"]


@pytest.mark.parametrize("text", ["", "[]", '{"processes": 1}'])
def test_a_damaged_record_of_an_attempt_stops_nothing(text: str, attempted: Attempts) -> None:
    attempted.by()
    root = attempted.plan.workspace.root
    (record,) = paths.work(root, attempted.plan.job("digits").id).glob("*/attempt.json")
    record.write_text(text)
    attempted.by(ends=True)
    assert attempted.found == [False, True]


def test_an_evaluation_is_of_the_code_that_opens_what_it_measures(plan: Plan) -> None:
    job = next(job for job in plan.jobs.values() if job.stage == "evaluate")
    assert "mimflow.contents.images" in code.modules(job.task)


@pytest.mark.parametrize("stage", ["prepare", "train", "infer"])
def test_what_turns_pixels_is_the_code_of_whatever_turns_them(stage: str, plan: Plan) -> None:
    job = next(job for job in plan.jobs.values() if job.stage == stage)
    wanted = "mimflow.data.decode" if stage == "prepare" else "mimflow.data.pixels"
    assert wanted in closure(code.modules(job.task))


def test_what_computes_is_part_of_what_is_recorded() -> None:
    assert set(provenance.COMPUTING) < set(provenance.PACKAGES)
