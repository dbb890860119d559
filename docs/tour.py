"""Run the tour, and write its pages with what its commands print: `python docs/tour.py`.

`docs/tour.sh` is a script for a shell. A line `#= NAME` begins a page, lines `#: …` are its text, and lines until the
next blank one are commands, shown with their output; what stands before the first page is done and not shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SCRIPT = DOCS / "tour.sh"
WIDTH = 160
MARK = "\x1e"
"""Printed before each command; the output between two is that of the first."""
LONG = ("snakemake", "mimflow prepare", "mimflow train", "dvc repro")
"""Commands that say how far they are, each time in other words: left out of the pages."""
LANGUAGES = {"py": "python", "yaml": "yaml"}
"""Of files that the tour writes, by their endings."""


@dataclass
class Block:
    """Text of a page, or commands that are shown together."""

    text: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


def pages(folder: Path, instead: Mapping[str, str] | None = None) -> dict[str, str]:
    """The pages by name, of a tour through `folder`, which is not there yet. AssertionError where a command fails.

    `instead` has commands to be run in place of some that are shown.
    """
    setup, parts = read()
    shown = [command for blocks in parts.values() for block in blocks for command in block.commands]
    commands = [(instead or {}).get(command, command) for command in shown]
    said = _run(folder, setup, commands)
    printed = iter(said)
    return {name: "\n\n".join(_shown(block, printed) for block in blocks) + "\n" for name, blocks in parts.items()}


def masked(text: str, folder: Path) -> str:
    """Output with times, digests and places as letters that stand for them."""
    text = text.replace(str(folder.resolve()), "~").replace(str(folder), "~")
    text = re.sub(r"[^\s'\"]*/(?=mimflow/shipped/)", "…/", text)
    text = re.sub(r"\b[0-9a-f]{16}\b|\b[0-9a-f]{64}\b", lambda found: "x" * len(found[0]), text)
    text = re.sub(r"(?<![:\d])\d+:\d\d(:\d\d)?\b", lambda found: re.sub(r"\d", "0", found[0]), text)
    return re.sub(r"\b\d+(?:\.\d+)? (s|min|h)\b", lambda found: re.sub(r"\d", "0", found[0]), text)


def read() -> tuple[list[str], dict[str, list[Block]]]:
    """The commands of the script before the first page, and the blocks of each page."""
    setup, _, rest = SCRIPT.read_text(encoding="utf-8").partition("\n#= ")
    parts: dict[str, list[Block]] = {}
    for page in rest.split("\n#= "):
        name, _, body = page.partition("\n")
        block = Block()
        parts[name] = [block]
        until = None
        for line in body.splitlines():
            if until is not None:  # inside a file that is written
                block.commands[-1] += f"\n{line}"
                until = None if line == until else until
            elif line.startswith("#:"):
                block.text.append(line[2:].removeprefix(" "))
            elif line:
                block.commands.append(line)
                until = found[1] if (found := re.search(r"<<'(\w+)'", line)) else None
            elif block.text or block.commands:
                block = Block()
                parts[name].append(block)
    return setup.splitlines(), {
        name: [one for one in blocks if one.text or one.commands] for name, blocks in parts.items()
    }


def _run(folder: Path, setup: list[str], commands: list[str]) -> list[str]:
    """What each command prints, both streams together, run one after the other in a shell."""
    lines = [*setup, *(f"printf '\\036'\n{command}" for command in commands)]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": str(WIDTH),
        "NO_COLOR": "1",
        "TERM": "dumb",
        "DVC_NO_ANALYTICS": "1",
        **{f"GIT_{who}_{what}": "tour" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines), "tour", str(folder)],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = done.stdout.split(MARK)[1:]
    if done.returncode:
        raise AssertionError(
            f"{commands[len(said) - 1] if said else SCRIPT} ended with {done.returncode}:\n{done.stdout}"
        )
    return [masked(text, folder) for text in said]


def _shown(block: Block, printed: Iterator[str]) -> str:
    """A block of a page: its text, files that are written as they are, commands with what they print."""
    parts = ["\n".join(block.text)]
    lines: list[str] = []
    for command in block.commands:
        first, _, body = command.partition("\n")
        output = next(printed)
        if written := re.fullmatch(r"cat > (\S+\.(\w+)) <<'(\w+)'", first):
            name, suffix, end = written.groups()
            content = body.removesuffix(end).rstrip()
            parts.append(f"`{name}`:\n\n```{LANGUAGES[suffix]}\n{content}\n```")
            continue
        lines += [f"$ {first}", *(["…"] if first.startswith(LONG) else map(str.rstrip, output.rstrip().splitlines()))]
    if lines:
        parts.append("\n".join(["```console", *lines, "```"]))
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    """Write the pages."""
    with tempfile.TemporaryDirectory(prefix="mimflow-tour-") as folder:
        made = pages(Path(folder) / "tour")
    for name, text in made.items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
