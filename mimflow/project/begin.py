"""A project of one's own: what Snakemake and DVC need, and specs that extend those that come along."""

from __future__ import annotations

import shutil
from pathlib import Path

from mimflow.artifacts.manifest import write_text
from mimflow.errors import PlanError
from mimflow.project.new import TEMPLATES
from mimflow.spec.shipped import SHIPPED

EXAMPLE = {
    "datasets/digits": ("dataset", "# scikit-learn's digits: nothing to download.", "extends: digits"),
    "mini/classifier": ("run", "# Measures the others.", "extends: classifier-digits"),
    "mini/tarflow": (
        "run",
        "# A small TARFlow. Specs that come along are extended by their names; `mimflow explain tarflow` shows it all.",
        "extends: tarflow-mnist5k\nlabel: TARFlow\ndataset: digits\ntokenizer: {patch_size: 2}\n"
        "prior: {width: 64, blocks: [1, 1, 1, 1]}\nphases:\n  main: {epochs: 20}\n"
        "# It is no twin of a paper's run any more:\ntwin_of: null\ndeviations: null",
    ),
    "protocols/digits": (
        "protocol",
        "# How samples become numbers.",
        "extends: digits-1k\nextractor: {weights: {run: classifier}}",
    ),
    "tables/first": (
        "table",
        "# `snakemake --cores all` trains, samples, measures and renders: results/first.md.",
        "title: A first table\nby_default: true\nprotocol: digits\nrows:\n  - run: tarflow\ncolumns:\n"
        "  - parameters\n  - epochs\n  - unguided.fid\n  - {output: guided, metrics: [fid, class_accuracy]}",
    ),
}
"""The specs that a project begins with: kind, comment, text."""


def begin(folder: Path) -> list[str]:
    """Make a project in a folder that is not there or empty: workflow, profiles, an example's specs; their paths.

    PlanError if anything is in it. `dvc.yaml` and the schemas are for whoever knows the kinds of product to write.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PlanError(f"{folder}: is there already, and not empty (name a folder that is not)")
    written = {
        "Snakefile": _snakefile(),
        ".gitignore": (TEMPLATES / "gitignore").read_text(encoding="utf-8"),
        ".dvcignore": (TEMPLATES / "dvcignore").read_text(encoding="utf-8"),
    }
    for name, (kind, comment, text) in EXAMPLE.items():
        head = f"# yaml-language-server: $schema=../schemas/{kind}.json\n{comment}\n"
        written[f"specs/{name}.yaml"] = f"{head}{text}\n"
    for name, content in written.items():
        write_text(folder / name, content)
    shutil.copytree(SHIPPED / "profiles", folder / "profiles")
    return [*written, "profiles"]


def _snakefile() -> str:
    """The workflow's, with the rules of the package: they are as new as it is."""
    text = (SHIPPED / "Snakefile").read_text(encoding="utf-8")
    inside, own = 'include: "rules/', 'include: str(SHIPPED / "rules" / "'
    imports = "from mimflow.terminal import"
    assert text.count(imports) == 1, "what the import of the package's rules stands before"
    lines = [
        f"{line.replace(inside, own)})" if line.startswith(inside) else line
        for line in text.replace(imports, f"from mimflow.spec.shipped import SHIPPED\n{imports}").splitlines()
    ]
    return "\n".join(lines) + "\n"
