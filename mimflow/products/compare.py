"""The fields in which two things differ that specs describe: specs of today or of a revision, and finished results."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import MANIFEST, Manifest, read_manifest
from mimflow.errors import PlanError, SpecError
from mimflow.plan.build import Plan
from mimflow.plan.jobs import KEY_LENGTH, Job
from mimflow.plan.recorded import manifest_of
from mimflow.products.registry import open_workspace
from mimflow.project.inspection import find_spec
from mimflow.project.workspace import Loaded
from mimflow.spec.differences import differences, show
from mimflow.tasks import PrepareTask, TrainTask

Difference = tuple[str, Any, Any]
"""A field, its value on the left, its value on the right."""


def diff(root: Path, left: str, right: str) -> str:
    """The fields in which two differ, a line each: specs by name or file, at a revision `HEAD~3:tarflow`, or the
    folders of finished results.

    Two specs are of one kind. A result is compared with what a run asks for in its place: of a checkpoint, the same
    phase with the same seed, and all that they start from.
    """
    with ExitStack() as opened:
        sides = [opened.enter_context(_side(root, word)) for word in (left, right)]
        found = list(_between(*sides))
    width = max((len(field) for field, _, _ in found), default=0)
    return "\n".join(f"{field:{width}}  {show(old)} → {show(new)}" for field, old, new in found) or "no field differs"


@dataclass(frozen=True)
class Described:
    """What a job depends on, as it is planned or as its result recorded it."""

    stage: str
    name: str
    key: str
    task: Mapping[str, Any]
    inputs: Mapping[str, Job | str]
    """By role; the key alone of what a result was made from."""
    root: Path
    """The project, whose store may know more of those."""

    @classmethod
    def of_job(cls, job: Job, root: Path) -> Described:
        """A job of a plan."""
        return cls(job.stage, job.name, job.key, job.task.identity(), job.inputs, root)

    @classmethod
    def of_result(cls, manifest: Manifest, root: Path) -> Described:
        """A finished result."""
        return cls(manifest.stage, manifest.name, manifest.key, manifest.task, manifest.inputs, root)

    def read(self, role: str) -> Described | str:
        """What was read under a role; its key where no more is known, and `nothing` where nothing was."""
        found = self.inputs.get(role, "nothing")
        if isinstance(found, Job):
            return Described.of_job(found, self.root)
        manifest = manifest_of(self.root, found)
        return found[:KEY_LENGTH] if manifest is None else Described.of_result(manifest, self.root)


@dataclass(frozen=True)
class Specified:
    """A spec of today or of a revision."""

    word: str
    kind: str
    loaded: Loaded[Any]
    plan: Plan
    root: Path
    """The project of today, whose store is meant."""

    def asked(self, result: Described) -> Described:
        """What it asks for in place of a result. PlanError if it has nothing like it."""
        name, rest = self.loaded.name, result.name.partition(".")[2]
        if result.stage == PrepareTask.stage:
            job = self.plan.prepare(self.loaded.spec.dataset if self.kind == "run" else name)
        elif result.stage == TrainTask.stage and self.kind == "run":
            run, named = self.loaded.spec, rest.partition(".")[0]
            phase = named if named in run.phases else run.last_phase
            if phase is None:
                raise PlanError(f"'{self.word}' trains nothing: a checkpoint has nothing to be compared with")
            job = self.plan.train(name, phase, result.task["seed"])
        else:
            job = self.plan.job(f"{name}.{rest}" if rest else name, result.stage)
        return Described.of_job(job, self.root)


def _between(left: Described | Specified, right: Described | Specified) -> Iterator[Difference]:
    if isinstance(left, Specified) and isinstance(right, Specified):
        if left.kind != right.kind:
            raise PlanError(f"'{left.word}' is a {left.kind}, '{right.word}' a {right.kind}: compare two of one kind")
        yield from differences(left.loaded.spec.model_dump(mode="json"), right.loaded.spec.model_dump(mode="json"))
        return
    if isinstance(left, Specified):
        assert isinstance(right, Described)
        left = left.asked(right)
    elif isinstance(right, Specified):
        right = right.asked(left)
    assert isinstance(right, Described)
    if left.stage != right.stage:
        raise PlanError(f"a result of stage {left.stage} and one of {right.stage}: compare two of one stage")
    yield from _of_jobs(left, right, "", set())


def _of_jobs(left: Described, right: Described, prefix: str, told: set[tuple[str, str]]) -> Iterator[Difference]:
    """The fields of two tasks that differ, and those of what they read, under its role; what both share, once."""
    if left.key == right.key or (left.key, right.key) in told:
        return
    told.add((left.key, right.key))
    yield from differences(left.task, right.task, prefix)
    for role in dict.fromkeys((*left.inputs, *right.inputs)):
        place = f"{prefix}.{role}" if prefix else role
        a, b = left.read(role), right.read(role)
        if isinstance(a, Described) and isinstance(b, Described):
            yield from _of_jobs(a, b, place, told)
        elif (one := _short(a)) != (other := _short(b)):
            yield place, one, other


def _short(read: Described | str) -> str:
    return read if isinstance(read, str) else read.key[:KEY_LENGTH]


@contextmanager
def _side(root: Path, word: str) -> Iterator[Described | Specified]:
    """What a word means. PlanError or SpecError in a line if it means nothing."""
    for folder in (Path(word), root / word):
        if (folder / MANIFEST).is_file():
            yield Described.of_result(read_manifest(folder / MANIFEST), root)
            return
    revision, colon, name = word.rpartition(":")
    if not colon:
        yield _specified(root, word, word, root)
        return
    with tempfile.TemporaryDirectory(prefix="mimflow-") as folder_of_then:
        then = Path(folder_of_then)
        _check_out(root, revision, then)
        try:
            found = _specified(then, word, name, root)
        except SpecError as error:
            raise SpecError("\n".join(f"{revision}: {line}" for line in str(error).splitlines())) from None
        yield found


def _specified(specs: Path, word: str, name: str, root: Path) -> Specified:
    workspace = open_workspace(specs)
    kind, loaded = find_spec(workspace, name)
    return Specified(word, kind, loaded, Plan(workspace), root)


def _check_out(root: Path, revision: str, folder: Path) -> None:
    """Put the specs of a revision into a folder; the working tree stays as it is. PlanError in git's words."""
    words = ["git", "-C", str(root), "archive", "--format=tar", revision, "--", "specs"]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except OSError as error:
        raise PlanError(f"{revision}: git can't be asked: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise PlanError(f"{revision}: no revision with specs ({said[-1] if said else 'git says nothing'})")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
