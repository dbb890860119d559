"""How long `mimflow validate`, `mimflow plan` and `snakemake -n` take: whole processes.

`validate` and `plan` against an empty Python, and `snakemake -n` over projects of 1,000 and 5,000 jobs against plain
Snakefiles of the same jobs, which look up in a dictionary what each reads, and against Snakemake's own start
(`--version`), each pair in turns, as medians. `--growth` has each of the three once over projects of 100,
1,000 and 10,000 runs instead (some minutes), and how many times as long as over a tenth of the runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from interleave import Ratios, interleave

from mimflow.plan.paths import FOLDERS
from mimflow.products.registry import open_plan

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
ABLATION = 250
"""Runs of an ablation, which may have 256."""
SIZES = {198: "1,000 jobs", 990: "5,000 jobs"}
"""Runs of a project, and the jobs that they make."""
PLAIN = """
import json
from pathlib import Path

GIVEN = json.loads(Path("jobs.json").read_text())

wildcard_constraints:
    job="[0-9a-f]{16}",

rule table:
    input:
        GIVEN["table"],
    output:
        "results/table1.md",
    shell:
        "touch {output}"

for stage, folder in GIVEN["folders"].items():
    rule:
        name:
            stage
        input:
            lambda wildcards: GIVEN["jobs"][wildcards.job],
        output:
            f"results/store/{folder}/{{job}}/manifest.json",
        shell:
            "touch {output}"
"""
DRY_RUN = ("snakemake", "-n", "-q", "all", "--", "results/table1.md")


def run(project: Path, *words: str) -> None:
    program = PROGRAMS / words[0]
    subprocess.run([str(program), *words[1:]], cwd=project, check=True, capture_output=True)


def large_project(root: Path, runs: int) -> Path:
    """The tests' tiny project with `runs` learning rates in its table, by ablations: 4 jobs a run and output."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "rules", "profiles"):
        source = REPOSITORY / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    shutil.copytree(REPOSITORY / "tests/tiny/specs", root / "specs")
    (root / "specs/ablations").mkdir()
    rows = ["{run: tarflow}"]
    for first in range(0, runs, ABLATION):
        rates = ", ".join(f"{1e-3 + index * 1e-6:.6f}" for index in range(first, min(first + ABLATION, runs)))
        text = f"run: tarflow\ngrid: {{phases.main.optimizer.lr: [{rates}]}}\n"
        (root / f"specs/ablations/rates-{first}.yaml").write_text(text)
        rows.append(f"{{ablation: rates-{first}}}")
    table = root / "specs/tables/table1.yaml"
    table.write_text(table.read_text().replace(rows[0], ", ".join(rows)))
    return root


def plain_project(root: Path, project: Path) -> Path:
    """A Snakefile that makes the same jobs for the same table, and knows nothing else."""
    plan = open_plan(project)
    given = {
        "table": [job.manifest for job in plan.product("table1").jobs().values()],
        "folders": dict(FOLDERS),
        "jobs": {id: [read.manifest for read in job.inputs.values()] for id, job in plan.jobs.items()},
    }
    root.mkdir(parents=True)
    (root / "jobs.json").write_text(json.dumps(given))
    (root / "Snakefile").write_text(PLAIN)
    return root


def report(what: str, against: str, ratios: Ratios) -> None:
    print(f"{what}: {ratios.slow:.2f} s; {against}: {ratios.fast:.2f} s (medians); ratio {ratios.median:.1f}")


def print_growth(sizes: list[int]) -> None:
    """Seconds of each command over projects of so many runs, and how many times as long as over the size before."""
    commands = (("mimflow", "validate"), ("mimflow", "plan", "table1"), DRY_RUN)
    print(f"{'runs':>6}" + "".join(f"  {' '.join(words[:2]):>24}" for words in commands))
    before: list[float] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            project = large_project(Path(folder), runs=size)
            seconds = [seconds_of(partial(run, project, *words)) for words in commands]
        times = [f"{now / past:.1f}×" for now, past in zip(seconds, before, strict=True)] if before else [""] * 3
        print(f"{size:6}" + "".join(f"  {now:14.2f} s {ratio:>7}" for now, ratio in zip(seconds, times, strict=True)))
        before = seconds


def seconds_of(call: Callable[[], None]) -> float:
    """How long a call takes, in seconds of the clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    parser.add_argument(
        "--growth", type=int, nargs="*", metavar="RUNS", help="over projects of so many runs, once each"
    )
    arguments = parser.parse_args()
    if arguments.growth is not None:
        print_growth(arguments.growth or [100, 1_000, 10_000])
        return
    for words in (("mimflow", "validate"), ("mimflow", "plan", "table1")):
        command, empty = partial(run, REPOSITORY, *words), partial(run, REPOSITORY, "python", "-c", "")
        report(" ".join(words), "an empty python", interleave(command, empty, runs=arguments.runs))
    for runs, jobs in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            project = large_project(Path(folder) / "ours", runs)
            plain = plain_project(Path(folder) / "plain", project)
            dry_run = partial(run, project, *DRY_RUN)
            others = {"a plain Snakefile": partial(run, plain, *DRY_RUN)}
            others["snakemake --version"] = partial(run, plain, "snakemake", "--version")
            for name, other in others.items():
                report(f"snakemake -n at {jobs}", name, interleave(dry_run, other, runs=arguments.runs))


if __name__ == "__main__":
    main()
