"""How long `mimflow validate` and `snakemake -n` take: whole processes, median and extremes.

`validate` against an empty Python, and `snakemake -n` over a project of a thousand jobs against Snakemake's own
start (`--version`), each pair in turns.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from interleave import Ratios, interleave

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent


def run(project: Path, *words: str) -> None:
    program = PROGRAMS / words[0]
    subprocess.run([str(program), *words[1:]], cwd=project, check=True, capture_output=True)


def large_project(root: Path, runs: int) -> Path:
    """The tests' tiny project with an ablation of `runs` learning rates in its table: 4 jobs a run and output."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "rules", "profiles"):
        source = REPOSITORY / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    shutil.copytree(REPOSITORY / "tests/tiny/specs", root / "specs")
    rates = ", ".join(f"{1e-3 + index * 1e-6:.6f}" for index in range(runs))
    (root / "specs/ablations").mkdir()
    (root / "specs/ablations/rates.yaml").write_text(f"run: tarflow\ngrid: {{phases.main.optimizer.lr: [{rates}]}}\n")
    table = root / "specs/tables/table1.yaml"
    table.write_text(table.read_text().replace("{run: tarflow}", "{run: tarflow}, {ablation: rates}"))
    return root


def report(what: str, against: str, ratios: Ratios) -> None:
    print(f"{what}: {ratios.slow:.2f} s; {against}: {ratios.fast:.2f} s (medians); ratio {ratios.median:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    arguments = parser.parse_args()
    validate = interleave(
        lambda: run(REPOSITORY, "mimflow", "validate"), lambda: run(REPOSITORY, "python", "-c", ""), runs=arguments.runs
    )
    report("mimflow validate", "an empty python", validate)
    with tempfile.TemporaryDirectory() as folder:
        project = large_project(Path(folder), runs=198)
        dry_run = interleave(
            lambda: run(project, "snakemake", "-n", "-q", "all", "--", "results/table1.md"),
            lambda: run(project, "snakemake", "--version"),
            runs=arguments.runs,
        )
        report("snakemake -n at 1,000 jobs", "snakemake --version", dry_run)


if __name__ == "__main__":
    main()
