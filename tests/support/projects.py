"""Projects for tests: this repository's workflow over the tiny specs of `tests/tiny`, in folders of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from mimflow.cli import app
from mimflow.products.dvc import write_dvc
from mimflow.products.registry import open_plan

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOW = ("Snakefile", "rules", "profiles", ".dvcignore", ".gitignore")
TIMEOUT = 900


def new_project(root: Path) -> Path:
    """A fresh project below `root`: the workflow's files and the tiny specs, nothing computed."""
    root.mkdir(parents=True, exist_ok=True)
    for name in WORKFLOW:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name)
        else:
            shutil.copy(source, root / name)
    shutil.copytree(REPOSITORY / "tests" / "tiny" / "specs", root / "specs")
    write_dvc(open_plan(root))
    return root


def copy_project(source: Path, root: Path) -> Path:
    """A project with all that another has computed."""
    shutil.copytree(source, root, symlinks=True)
    return root


def command(project: Path, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in a project; its output, both streams together, is `stdout`."""
    folder = Path(sys.executable).parent
    found = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(project / ".cache"),
        **environment,
    }
    done = subprocess.run(
        words, cwd=project, env=found, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done


def cli(project: Path, *words: str) -> str:
    """What a command of mimflow prints, called in this process: for what is no question of how processes start."""
    done = CliRunner().invoke(app, [*words, "--project", str(project)])
    if done.exception is not None:
        raise done.exception
    return done.output


def snakemake(project: Path, *words: str, check: bool = True) -> str:
    """The output of Snakemake on the project's table."""
    return command(project, "snakemake", "--cores", "2", *words, "results/table1.md", check=check).stdout


def would_run(project: Path) -> set[str]:
    """The names of the jobs that Snakemake would run; the table's is `render`."""
    return jobs_of(snakemake(project, "-n"))


def jobs_of(text: str) -> set[str]:
    """The names of the jobs in what Snakemake says."""
    jobs = set(re.findall(r"^Job \d+: (?:prepare|features|train|infer|reference|evaluate) (\S+)$", text, re.MULTILINE))
    jobs |= {"render"} if re.search(r"^Job \d+: render table", text, re.MULTILINE) else set()
    assert jobs or "Nothing to be done" in text, text
    return jobs


def result_of(project: Path, folder: str, name: str) -> Path:
    """The folder of the store that a job's name leads to."""
    return project / "results/store" / folder / (project / "results/by-name" / folder / name).readlink().name


def edit(project: Path, name: str, old: str, new: str) -> None:
    """Replace the one place in a spec that says `old`."""
    path = project / "specs" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name} says {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")
