"""Freshness of the few files at fixed paths, by content and not by clock.

Keyed folders need none of this: a changed spec is a missing path. A rendered product has a record beside it that says
what it was made from and what it looked like; a marker file, an input of the render rule, carries the answer to
Snakemake: of time 0 while the product is what its specs ask for, new when it is not. Snakemake compares that time with
the product's own, and after a job the times of all its inputs with its outputs': files of the future, which another
clock or a `touch` has left, are brought back to the present first.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import Manifest, canonical, read_manifest, sha256_of, write_text
from mimflow.artifacts.metrics import METRICS
from mimflow.errors import ArtifactError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.product import Product
from mimflow.spec.changes import changes

RENDER_VERSION = 3
CLEARLY = 3.0
"""Seconds by which a marker is newer than what is to be made anew: file systems round times, to two at worst."""


def product_identity(product: Product) -> dict[str, Any]:
    """What a rendered product depends on: its spec, what it adds to it, and the keys of its jobs."""
    return {
        "version": RENDER_VERSION,
        "kind": product.kind.name,
        "spec": product.spec.identity(),
        **product.identity(),
        "jobs": {name: job.key for name, job in product.jobs().items()},
    }


def product_key(identity: dict[str, Any]) -> str:
    """The key of a rendered product."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def number_digests(product: Product) -> dict[str, str]:
    """The digests of the numbers that a product shows, by its own names of jobs, as far as they are in the store."""
    root = product.root
    measured = {name: job for name, job in product.jobs().items() if job.stage == "evaluate" and job.done(root)}
    return {name: read_manifest(root / job.manifest).files[METRICS].sha256 for name, job in measured.items()}


def product_record(product: Product) -> Manifest | None:
    """The record beside a rendered product; None if it was never rendered. ArtifactError if it is broken."""
    path = product.root / paths.product_record(product.name)
    return read_manifest(path) if path.is_file() else None


def render_reason(product: Product) -> str:
    """Why a product has to be rendered; empty if it is what its specs ask for."""
    try:
        record = product_record(product)
    except ArtifactError:
        return "its record is broken"
    if record is None:
        return "never rendered"
    identity = product_identity(product)
    if record.key != product_key(identity):
        return "; ".join(_changes(record.task, identity)) or "its record is another version's"
    for name, file in record.files.items():
        path = product.root / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path) != file.sha256:
            return f"{name} was changed by hand"
    try:
        return _numbers_reason(product, record)
    except ArtifactError as error:  # the render says it and ends; other products are not held up
        return str(error)


def _numbers_reason(product: Product, record: Manifest) -> str:
    now = number_digests(product)
    changed = [name for name, digest in now.items() if record.inputs.get(name, digest) != digest]
    if changed:
        return f"other numbers: {', '.join(changed)}"
    asked = [name for name, job in product.jobs().items() if job.stage == "evaluate"]
    missing = [name for name in asked if name not in record.inputs]
    # What has no numbers was left out only where it was not there: now it may be.
    there = {f"{job.stage} {name}" for name, job in product.jobs().items() if job.done(product.root)}
    missing += [name for name in record.facts.get("without", ()) if name in there]
    return f"rendered without {', '.join(missing)}" if missing else ""


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What changed in what a product depends on, in words: of digests, only which; its own fields first."""
    yield from changes(old.get("spec"), new["spec"])
    for field in [*old, *(field for field in new if field not in old)]:
        if field in ("jobs", "templates"):
            yield from _of_digests(field, old.get(field) or {}, new.get(field) or {})
        elif field != "spec":
            yield from changes({field: old.get(field)}, {field: new.get(field)})


def _of_digests(field: str, old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    one = field.removesuffix("s")
    yield from (f"{name} changed" for name in old if name in new and old[name] != new[name])
    yield from (f"{one} {name} removed" for name in old if name not in new)
    yield from (f"{one} {name} added" for name in new if name not in old)


def update_markers(plan: Plan) -> None:
    """Bring every product's marker up to date. Only the main process of Snakemake calls this."""
    for job in plan.jobs.values():
        _no_later_than(plan.root / job.manifest, time.time())
    for product in plan.products.values():
        update_marker(product)
    # Those of pages are brought up to date when somebody asks for one. By then Snakemake may have looked at which files
    # there are: all have to be there.
    for name in plan.pages:
        marker = plan.root / paths.marker(name)
        if not marker.exists():
            write_text(marker, "")


def update_marker(product: Product) -> None:
    """Bring one product's marker up to date."""
    root = product.root
    marker = root / paths.marker(product.name)
    reason = render_reason(product)
    text = reason + "\n"
    if not marker.is_file() or marker.read_text(encoding="utf-8") != text:
        write_text(marker, text)
    if not reason:
        os.utime(marker, (0, 0))
        return
    now = time.time()
    os.utime(marker, (now, now))
    for file in (*product.files, paths.product_record(product.name)):
        _no_later_than(root / file, now - CLEARLY)


def _no_later_than(path: Path, latest: float) -> None:
    """Give a file that is newer than `latest` that time, and one of time 0, which Snakemake takes for none."""
    with suppress(OSError):
        if not 0 < path.stat().st_mtime <= latest:
            os.utime(path, (latest, latest))
