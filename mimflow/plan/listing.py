"""What there is: runs, products and data sets, in which state each is, and what is known of its results."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.manifest import Manifest, read_manifest
from mimflow.errors import ArtifactError
from mimflow.plan import units
from mimflow.plan.activity import activity
from mimflow.plan.build import Plan
from mimflow.plan.costs import Costs
from mimflow.plan.freshness import product_record, render_reason
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.plan.status import History
from mimflow.progress import duration

MISSING = "missing"
HEADS = {
    "runs": ("run", "state", "seeds", "loss", "age", "size", "time"),
    "products": ("product", "state", "kind", "age", "size", "time", "left"),
    "datasets": ("data set", "state", "images", "age", "size", "time"),
}
"""The columns of each list."""


@dataclass(frozen=True)
class Entry:
    """A line of a list: a name, its state, and the other cells."""

    name: str
    state: str
    """`done`, `stale: …`, `running at step 3 of 60`, `failed: …`, `interrupted at step 3 of 60` or `missing`."""
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A finished result: its manifest, when it was made, and the bytes of its files."""

    manifest: Manifest
    when: float
    size: int


def list_all(plan: Plan, of: str | None) -> str:
    """The list of runs, products or data sets; of all three those that are there or under way, if `of` is None."""
    if of is not None:
        return _table(of, list(_entries(plan, of)))
    blocks, counts, kinds = [], [], []
    for kind in HEADS:
        entries = list(_entries(plan, kind))
        there = [entry for entry in entries if entry.state != MISSING]
        if there:
            blocks.append(_table(kind, there))
        if len(there) < len(entries):
            kinds.append(kind)
            count = len(entries) - len(there)
            counts.append(f"{count} {kind if count > 1 else kind.removesuffix('s')}")
    if counts:
        blocks.append(f"{MISSING}: {', '.join(counts)} (mimflow ls {'|'.join(kinds)} lists them)")
    return "\n\n".join(blocks) or "nothing: no run, product or data set in specs"


def _entries(plan: Plan, of: str) -> Iterator[Entry]:
    history = History(plan.root)
    if of == "runs":
        yield from (_run(plan, name, history) for name in _names(plan, "run"))
    elif of == "products":
        costs = Costs(plan.root, plan.jobs.values())
        yield from (_product(product, costs) for _, product in sorted(plan.products.items()))
    else:
        yield from (_dataset(plan, name, history) for name in _names(plan, "dataset"))
    kinds = {"runs": ["run"], "datasets": ["dataset"], "products": [kind.name for kind in plan.workspace.products]}
    for kind, name in sorted(plan.workspace.wrong):
        if kind in kinds[of]:
            yield Entry(name, f"wrong: mimflow validate {name}", ())


def _names(plan: Plan, kind: str) -> list[str]:
    return sorted(loaded.name for loaded in plan.workspace.sound(kind))


def _run(plan: Plan, name: str, history: History) -> Entry:
    root, seeds = plan.root, plan.workspace.runs[name].spec.seeds
    by_seed = {seed: plan.trained(name, seed) for seed in seeds}
    jobs = {job.id: job for of_seed in by_seed.values() for job in of_seed}
    made = results(root, jobs.values())
    whole = sum(all(job.id in made for job in of_seed) for of_seed in by_seed.values())
    if not jobs:
        return Entry(name, "its weights are given", ("", "", "", "", ""))
    finals = [made[of_seed[-1].id].manifest.facts["final"] for of_seed in by_seed.values() if of_seed[-1].id in made]
    losses = [final["loss"] for final in finals if final.get("loss") is not None]
    state = jobs_state(root, jobs.values(), history)
    return Entry(
        name,
        state if state != MISSING or not whole else f"{whole} of {len(seeds)} seeds done",
        (
            f"{whole}/{len(seeds)}",
            f"{sum(losses) / len(losses):.4g}" if losses else _loss_so_far(root, jobs.values()),
            *_age_size_time(made.values()),
        ),
    )


def _loss_so_far(root: Path, jobs: Iterable[Job]) -> str:
    """The loss that the first job under way showed last."""
    for job in jobs:
        found = activity(root, job.id) if not job.done(root) else None
        if found is not None and "loss" in found.figures:
            return f"{found.figures['loss']:.4g}"
    return ""


def _dataset(plan: Plan, name: str, history: History) -> Entry:
    job = plan.prepare(name)
    made = results(plan.root, [job])
    images = "".join(str(sum(result.manifest.facts["images"].values())) for result in made.values())
    return Entry(name, jobs_state(plan.root, [job], history), (images, *_age_size_time(made.values())))


def _product(product: Product, costs: Costs) -> Entry:
    """A product: what all its results took, and about how long those take that are missing, one after the other."""
    root = product.root
    try:
        record = product_record(product)
    except ArtifactError:
        record = None
    reason = render_reason(product)
    needed = {job.id: job for asked in product.jobs().values() for job in (*asked.upstream(), asked)}
    state = jobs_state(root, needed.values(), None) if reason else "done"
    if reason and state in ("done", MISSING):
        state = f"stale: {reason}" if record is not None else MISSING
    files = [path for file in product.files if record is not None and (path := root / file).is_file()]
    age = units.age(time.time() - max(path.stat().st_mtime for path in files)) if files else ""
    size = units.size(sum(path.stat().st_size for path in files)) if files else ""
    took = sum(seconds_of(result.manifest) for result in results(root, needed.values()).values())
    left = sum(costs.seconds(job) for job in needed.values())
    spans = (duration(took) if took else "", units.span(left) if left else "")
    return Entry(product.name, state, (product.kind.name, age, size, *spans))


def jobs_state(root: Path, jobs: Iterable[Job], history: History | None) -> str:
    """The state of jobs together: the first of running, failed and interrupted that one is in, else what is missing.

    Stale is what has results of an earlier spec, of which `history` knows.
    """
    missing = [job for job in jobs if not job.done(root)]
    if not missing:
        return "done"
    under_way = [found for job in missing if (found := activity(root, job.id)) is not None]
    for state in ("running", "failed", "interrupted"):
        if words := [found.words for found in under_way if found.state == state]:
            return words[0]
    if history is not None and any(history.of(job) is not None for job in missing):
        return "stale: specs have changed since"
    return MISSING


def results(root: Path, jobs: Iterable[Job]) -> dict[str, Result]:
    """The results of those jobs that are done, by id; a broken one is as none."""
    found = {}
    for job in jobs:
        with suppress(ArtifactError, OSError):
            if job.done(root):
                path = root / job.manifest
                manifest = read_manifest(path)
                bytes_ = sum(file.size for file in manifest.files.values())
                found[job.id] = Result(manifest, path.stat().st_mtime, bytes_)
    return found


def _age_size_time(found: Iterable[Result]) -> tuple[str, str, str]:
    """How long ago the newest was made, what all take on the disk, and what they took to make."""
    made = list(found)
    if not made:
        return "", "", ""
    newest = max(result.when for result in made)
    seconds = sum(seconds_of(result.manifest) for result in made)
    return units.age(time.time() - newest), units.size(sum(result.size for result in made)), duration(seconds)


def seconds_of(manifest: Manifest) -> float:
    """What a result took; training says it of all its attempts together, a manifest of the last one alone."""
    return max(float(manifest.made.get("seconds") or 0), float(manifest.facts.get("seconds") or 0))


def _table(of: str, entries: Sequence[Entry]) -> str:
    """Entries in columns under their heads."""
    rows = [HEADS[of], *((entry.name, entry.state, *entry.cells) for entry in entries)]
    width = len(HEADS[of])
    # States are words of any length: they come last.
    rows = [(name, *cells, *[""] * (width - 2 - len(cells)), state) for name, state, *cells in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(width - 1)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:], strict=True)]
    return "  ".join([f"{row[0]:{widths[0]}}", *cells, row[-1]])
