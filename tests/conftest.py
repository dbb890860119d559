"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from filelock import FileLock

# Tests run side by side with what they start; one thread each keeps them from waiting for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from versioned import make_tracked, without_versions

# A shell that runs the tests in the background has them ignore SIGINT, and what they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST = (
    "test_tour.py",
    "test_slurm.py",
    "test_several_processes.py",
    "test_dvc.py",
    "test_extending.py",
    "test_workflow.py",
    "test_paper_flows.py",
    "test_twins_live.py",
    "test_places.py",
    "test_together.py",
)
"""Files that take longest: begun first, so that at the end no process is left alone with one of them."""


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as cores: a third of the time tests wait, for Slurm and for processes that they start."""
    return len(os.sched_getaffinity(0)) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files are first, and each report says the kind of fault that its test tries.

    A marker alone would stay in pytest-xdist's worker."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))
    for item in items:
        if marker := item.get_closest_marker("fault"):
            item.user_properties.append(("fault", marker.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After `pytest -m fault`: a line for each fault tried, with its kind, how many ways it was tried, and the result.

    What a test's parameters vary are the ways. A test whose tidying up failed has failed."""
    if "fault" not in config.option.markexpr or config.option.collectonly:
        return
    worst = {
        report.nodeid: (dict(report.user_properties)["fault"], result)
        for result in ("passed", "skipped", "failed", "error")
        for report in terminalreporter.stats.get(result, [])
        if "fault" in dict(getattr(report, "user_properties", ()))
    }
    cases: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for node, (kind, result) in worst.items():
        words = node.partition("[")[0].rpartition("::")[2].removeprefix("test_").replace("_", " ")
        cases[kind, words][result] += 1
    terminalreporter.section(f"{len(worst)} faults of {len({kind for kind, _ in cases})} kinds")
    for (kind, words), results in sorted(cases.items()):
        counts = ", ".join(f"{count} {result}" for result, count in results.items())
        terminalreporter.write_line(f"{kind:20} {counts:20} {words}")


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project under git and DVC whose table has been made from nothing. Tests clone it; none changes it.

    The processes that share the tests out share it too: the first that asks makes it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished"
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            make_tracked(folder / "tracked")
            without_versions(folder / "tracked", folder / "project")
            (folder / "made").touch()
    return folder / "tracked"


@pytest.fixture(scope="session")
def finished(tracked: Path) -> Path:
    """A project whose table has been made from nothing by Snakemake. Tests copy it; none changes it.

    It is the tracked one without DVC, which starts Snakemake: its jobs would take a minute once more. What both said
    lies beside it, in `first`.
    """
    return tracked.with_name("project")
