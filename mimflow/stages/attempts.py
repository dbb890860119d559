"""Attempts at a job: what an earlier one left is gone on from by the same code and packages alone.

What an attempt has done lies in a folder that is named by a digest of the source and the packages that it was begun
with. So no result is of two codes; and whoever goes back to the code that began it finds its work again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import write_text
from mimflow.artifacts.provenance import describe_host, describe_process, git_state
from mimflow.artifacts.shard import Shard
from mimflow.errors import Interrupted, StorageError
from mimflow.plan.code import attempt
from mimflow.plan.paths import FAILURE

RECORD = "attempt.json"
"""The file of an attempt's folder that says what it was begun with, and which processes have worked on it."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job, which several processes may work on, one after the other."""

    folder: Path
    source: str
    """The digest of the source that it was begun with."""
    processes: list[dict[str, Any]]
    """Commit and machine of every process that has worked on it, the present one last."""

    @property
    def git(self) -> dict[str, Any]:
        """The state of git that it ended with."""
        git: dict[str, Any] = self.processes[-1]["git"]
        return git

    @property
    def made(self) -> dict[str, Any]:
        """What a manifest says of it: the source, all processes where they were not alike, and shards if there were."""
        alike = all(process == self.processes[-1] for process in self.processes)
        shards = finished_shards(self.folder)
        return {
            "source": self.source,
            **({} if alike else {"processes": self.processes}),
            **({"shards": shards} if shards else {}),
        }


def finish_shard(folder: Path, shard: Shard, root: Path, seconds: float) -> None:
    """Write down beside an attempt who drew a shard of its pieces, and how long it took."""
    record = {"shard": str(shard), **describe_process(root), "seconds": round(seconds, 2)}
    write_text(folder / f"shard-{shard.slug}.json", json.dumps(record, indent=1) + "\n")


def finished_shards(folder: Path) -> list[dict[str, Any]]:
    """What was written down of the shards of an attempt."""
    return [found for path in sorted(folder.glob("shard-*.json")) if (found := _read(path))]


def begin(work: Path, makers: dict[str, Any], root: Path, say: Callable[[str], None]) -> Attempt:
    """Begin an attempt below `work`, or go on with the one that the same makers began.

    `makers` is what `mimflow.plan.code.makers` says. `say` is told of work that others began.
    """
    folder = work / attempt(makers)
    if not (folder / RECORD).is_file():
        for other in sorted(work.glob(f"*/{RECORD}")):
            say(f"begun before with {_difference(_read(other), makers)}: starting anew ({other.parent} stays)")
    process = {"git": git_state(root), **describe_host()}
    before = _read(folder / RECORD).get("processes")
    processes = before if isinstance(before, list) else []
    if processes[-1:] != [process]:
        processes = [*processes, process]
    write_text(folder / RECORD, json.dumps({**makers, "processes": processes}, indent=1) + "\n")
    return Attempt(folder, makers["source"], processes)


@contextmanager
def noting_failure(folder: Path) -> Iterator[None]:
    """Within it, an error leaves its first line in the attempt's folder; an interruption is none."""
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        with suppress(OSError, StorageError):  # a full disk may be what it is about
            write_text(folder / FAILURE, (str(error).partition("\n")[0] or type(error).__name__) + "\n")
        raise


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """`other code`, `torch 2.6.0`: in what an attempt differs from one of now."""
    packages = before.get("packages", {})
    names = sorted(packages.keys() | now["packages"].keys())
    others = [
        f"{name} {packages.get(name, 'missing')}" for name in names if packages.get(name) != now["packages"].get(name)
    ]
    return " and ".join([*(["other code"] if before.get("source") != now["source"] else []), *others])


def _read(path: Path) -> dict[str, Any]:
    """What is said of an attempt; nothing where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
