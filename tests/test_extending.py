"""`docs/extending.md` is true: a copy of this repository that does as it says has one prior more, held to its contracts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from projects import REPOSITORY, WORKFLOW, command, edit

pytestmark = pytest.mark.slow

DOCUMENT = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8")
COPIED = ("mimflow", "specs", "tests", "pyproject.toml", *WORKFLOW)


class Block(NamedTuple):
    """A block of the document, with the path that begins the line before it; empty where none does."""

    path: str
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    """All fenced blocks of a document, in order."""
    found = re.findall(r"(?:^`([^`\s]+)`[^\n]*:\n\n)?^```(\w+)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [Block(*block) for block in found]


def insert(text: str, diff: str) -> str:
    """The text with a diff's added lines, each behind the context line above it, which has to be there once."""
    lines, place = text.splitlines(), 0
    for change in diff.splitlines():
        mark, line = change[:1], change[1:]
        if mark == "+":
            lines.insert(place, line)
            place += 1
        else:
            assert (mark, lines.count(line)) == (" ", 1), f"{change!r} stands in the file {lines.count(line)} times"
            place = lines.index(line) + 1
    return "\n".join(lines) + "\n"


def write(project: Path, block: Block) -> None:
    """Do to a project's file what a block says: make a new one, or insert into one that is there."""
    path = project / block.path
    if block.language == "diff":
        path.write_text(insert(path.read_text(encoding="utf-8"), block.text), encoding="utf-8")
    else:
        assert not path.exists(), f"{block.path} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which every file of the document has been written, and nothing been run."""
    root = tmp_path_factory.mktemp("extending") / "project"
    root.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    # The classifier that measures takes longer than all the document adds, and is not its subject.
    edit(root, "mini/classifier-digits", "epochs: 20", "epochs: 4")
    for block in blocks(DOCUMENT):
        if block.language != "console":
            write(root, block)
    return root


@pytest.fixture(scope="module")
def said(project: Path) -> dict[str, str]:
    """What each command of the document printed; all have ended well. Two run at a time: none needs another's results."""
    (console,) = [block.text for block in blocks(DOCUMENT) if block.language == "console"]
    lines = [line.removeprefix("$ ") for line in console.splitlines()]
    # pytest here, and not in processes that it starts for a few tests.
    environment = {"PYTHONPATH": str(project), "PYTEST_XDIST_AUTO_NUM_WORKERS": "0"}
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda line: command(project, *shlex.split(line), **environment), lines)
        return {line: result.stdout for line, result in zip(lines, done, strict=True)}


def output_of(said: dict[str, str], words: str) -> str:
    """What the one command that begins with these words printed."""
    (output,) = [text for line, text in said.items() if line.startswith(words)]
    return output


def test_every_block_is_a_file_or_the_commands() -> None:
    found = blocks(DOCUMENT)
    assert len(found) == len(re.findall(r"^```\w+$", DOCUMENT, re.MULTILINE))
    assert [block.text for block in found if not block.path and block.language != "console"] == []


def test_the_files_are_well_kept(project: Path) -> None:
    files = [block.path for block in blocks(DOCUMENT) if block.path.endswith(".py")]
    command(project, "ruff", "check", *files)
    command(project, "ruff", "format", "--check", *files)


def test_the_specs_validate_and_their_schema_knows_the_kind(project: Path, said: dict[str, str]) -> None:
    assert output_of(said, "mimflow validate").startswith("valid:")
    assert output_of(said, "mimflow schema")
    assert "CouplingSpec" in json.loads((project / "specs/schemas/run.json").read_text(encoding="utf-8"))["$defs"]


def test_the_contract_tests_ran_and_passed(said: dict[str, str]) -> None:
    output = output_of(said, "pytest")
    found = re.search(r"(\d+) passed", output)
    # Two of eleven are about autoregressive blocks, which it has none of.
    assert found is not None and int(found[1]) >= 9, output


def test_it_trains_samples_and_is_measured(project: Path, said: dict[str, str]) -> None:
    log = output_of(said, "snakemake")
    assert all(f"[{job}" in log for job in ("train coupling-digits.", "infer coupling-digits.", "evaluate coupling-"))
    assert (project / "results/losses.png").read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((project / "results/metrics/coupling/coupling-digits.json").read_text(encoding="utf-8"))
    assert metrics["unguided.fid"] > 0
    assert metrics["unguided.class_accuracy"] > 0.5, "a tenth would be right by chance"


def test_what_it_names_is_there(project: Path) -> None:
    names = re.findall(r"`([\w./]+)`", re.sub(r"^```.*?^```$", "", DOCUMENT, flags=re.MULTILINE | re.DOTALL))
    paths = [name for name in names if "/" in name]
    assert paths and [path for path in paths if not (project / path).exists()] == []
    classes = [name.rpartition(".") for name in names if name.startswith("mimflow.")]
    assert classes
    for module, _, name in classes:
        source = (project / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"^class {name}\b", source, re.MULTILINE), f"{module} has no class {name}"


def test_the_figure_is_a_product_like_any_other(project: Path, said: dict[str, str]) -> None:
    output_of(said, "snakemake")
    environment = {"PYTHONPATH": str(project)}
    planned = command(project, "mimflow", "plan", "results/losses.png", **environment).stdout
    assert planned.rstrip().endswith("Nothing to be done")
    why = command(project, "mimflow", "why", "losses", **environment).stdout
    assert why.startswith("curves losses\n") and "coupling-digits.main.s0" in why
    assert "losses" not in command(project, "mimflow", "gc", **environment).stdout
    edit(project, "curves/losses", "runs: [coupling-digits]", "runs: [coupling-digit]")
    done = command(project, "mimflow", "validate", check=False, **environment)
    assert "specs/curves/losses.yaml:3:8: runs.0: there is no run 'coupling-digit' (did you mean" in done.stdout
    edit(project, "curves/losses", "runs: [coupling-digit]", "runs: [coupling-digits, tarflow-mnist5k]")
    planned = command(project, "mimflow", "plan", "losses", **environment).stdout
    assert re.search(r"^run +train +tarflow-mnist5k\.main\.s0 ", planned, re.MULTILINE), planned
    assert "run tarflow-mnist5k added" in planned
