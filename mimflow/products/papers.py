"""The page of papers: which spec makes which table, figure and claim, its state, and what the paper's scale needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimflow.products.table.layout import markdown
from mimflow.project.kinds import PaperItem
from mimflow.project.paper import PaperEntry, PaperSpec
from mimflow.project.workspace import Workspace

INTRODUCTION = """# The papers' items

Each table, figure and claim of the papers, the specs that make it at laptop scale, and what the paper's scale takes. \
`mimflow papers` writes this page from the specs: `specs/papers/` lists the items, and products and claims say under \
`paper:` which they are. `snakemake --cores all papers` makes them all with one seed each, `snakemake --cores all \
results/NAME.md` one table, `results/NAME.svg` one figure, and `mimflow plan papers` says what is there and what the \
rest costs. One seed decides no claim: `snakemake --cores all results/claims.md` trains three of each side and gives \
the verdicts. With `--config seeds=3` products are made with seeds 0, 1 and 2 whatever their specs say, with `--config \
dataset=NAME` of runs on that data set, beside what they are: `results/NAME-seeds-3.md`, of a spec of its own that \
stays. A claim's state is its committed verdict; of a product that is committed the page or the picture is linked.
"""
HEADS = ("Item", "What it shows", "Specs", "At laptop scale", "What the paper's scale needs")


@dataclass(frozen=True)
class OfPaper:
    """A product or a claim of a paper's item."""

    kind: str
    name: str
    paper: PaperItem
    state: str


def papers_page(workspace: Workspace) -> str:
    """The page, as Markdown."""
    specs = list(of_papers(workspace))
    texts = [INTRODUCTION]
    for loaded in workspace.all("paper"):
        paper: PaperSpec = loaded.spec
        lines = list(_lines(paper, [spec for spec in specs if spec.paper.of == loaded.name]))
        rows = [HEADS, (":--",) * len(HEADS), *lines]
        texts.append(
            "\n".join([f"## {paper.title}", "", f"{paper.source}", "", *(f"| {' | '.join(row)} |" for row in rows), ""])
        )
    return "\n".join(texts)


def of_papers(workspace: Workspace) -> Iterator[OfPaper]:
    """The products and claims that say which item of a paper they are, by kind and name."""
    for kind in (*(kind.name for kind in workspace.products), "claim"):
        for loaded in sorted(workspace.all(kind), key=lambda loaded: loaded.name):
            if loaded.spec.paper is not None:
                state = loaded.spec.verdict if kind == "claim" else _shown(workspace.root, loaded.name)
                yield OfPaper(kind, loaded.name, loaded.spec.paper, state or "no verdict yet")


def _shown(root: Path, name: str) -> str:
    """A link to what is committed of a product, from the page of papers."""
    for page in (f"{name}.md", f"items/{name}.md", f"items/{name}.png"):
        if (root / "docs" / page).is_file():
            return f"[made]({page})"
    return "specified, no result committed"


def _lines(paper: PaperSpec, specs: Sequence[OfPaper]) -> Iterator[tuple[str, ...]]:
    """A line for each item of the paper, and for each that only specs name."""
    named: set[tuple[str, str]] = set()
    for entry in paper.items:
        found = [spec for spec in specs if entry.is_named(spec.paper)]
        named |= {(spec.kind, spec.name) for spec in found}
        yield _line(entry, found)
    others = dict.fromkeys(spec.paper.item for spec in specs if (spec.kind, spec.name) not in named)
    for item in others:
        yield _line(PaperEntry(item=item, what=""), [spec for spec in specs if spec.paper.item == item])


def _line(entry: PaperEntry, found: Sequence[OfPaper]) -> tuple[str, ...]:
    if not found:
        why = entry.missing or "no spec is of it yet"
        return markdown(entry.item), markdown(entry.what), "—", f"**missing**: {markdown(why)}", "—"
    return (
        markdown(entry.item),
        markdown(entry.what),
        "<br>".join(f"{spec.kind} `{spec.name}`" for spec in found),
        "<br>".join(spec.state for spec in found),
        "<br>".join(dict.fromkeys(markdown(spec.paper.needs) for spec in found if spec.paper.needs)) or "—",
    )
