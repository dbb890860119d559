"""Renders any product: its files, and the record of what they were made from."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from mimflow.artifacts.lock import locked
from mimflow.artifacts.manifest import FileRecord, Manifest
from mimflow.artifacts.provenance import describe_process
from mimflow.errors import ArtifactError, PlanError, storage_errors
from mimflow.plan import paths
from mimflow.plan.freshness import number_digests, product_identity, product_key, product_record
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.logs import log_files
from mimflow.progress import report

LISTED = 5
"""Missing results that a message names."""


def render_product(product: Product, partial: bool = False) -> list[Path]:
    """Render a product and its record; the files, the record last. What was written before a render that fails stays.

    One that is killed while it moves files into place is done again by the next run of Snakemake.

    `partial` renders with the results that are there. Raises PlanError that names missing ones otherwise,
    ArtifactError for corrupt ones, SpecError for a user's broken template, StorageError if a file can't be written.
    """
    if not partial:
        require_all(product)
    identity, inputs = product_identity(product), number_digests(product)
    last, left = last_record(product), missing(product, product.jobs())
    if left:
        report(f"{product.kind.name} '{product.name}': rendered without {_named(left)} (`dvc pull`)", sys.stderr)
    files = {**product.render(partial), **log_files(product, last)}
    record = Manifest(
        stage="render",
        name=product.name,
        key=product_key(identity),
        task=identity,
        inputs=inputs,
        files={name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()},
        facts={"evaluations": len(inputs), "without": left},
        made=describe_process(product.root),
    )
    before = set(last.files) if last is not None else set()
    files[paths.product_record(product.name)] = record.to_json().encode()
    name = product.name.replace("/", "-")
    lock = paths.work_lock(product.root, f"render-{name}")
    with locked(lock, f"{product.kind.name} {product.name}"):
        _write(product.root, name, files, before - files.keys())
    return [product.root / name for name in files]


def require_all(product: Product) -> None:
    """PlanError that names the jobs that a product needs and whose results are not in the store, if there are any."""
    left = missing(product, product.needed())
    if left:
        raise PlanError(
            f"{product.kind.name} '{product.name}': {len(left)} result{'s are' if len(left) > 1 else ' is'} "
            f"not there yet: {_named(left)} (run `snakemake --cores all {product.files[0]}`, "
            "or `mimflow render --partial`)"
        )


def missing(product: Product, jobs: Mapping[str, Job]) -> list[str]:
    """Those of a product's jobs whose results are not in the store, by stage and name."""
    return [f"{job.stage} {name}" for name, job in jobs.items() if not job.done(product.root)]


def _named(left: list[str]) -> str:
    more = f" and {len(left) - LISTED} more" if len(left) > LISTED else ""
    return ", ".join(left[:LISTED]) + more


def last_record(product: Product) -> Manifest | None:
    """The record of the last render, whose files of rows that are no longer there are removed; None if it is broken."""
    try:
        return product_record(product)
    except ArtifactError:
        return None


def _write(root: Path, name: str, files: Mapping[str, bytes], gone: Iterable[str]) -> None:
    """Write all files aside, then move them into place in their order and remove those that are `gone`: the record
    last, so that a render which is killed on the way is known to be none.
    """
    record = paths.product_record(name)
    # Beside its place, which may be on another disk.
    aside = {file: (root / file).with_name(f".{name}.{(root / file).name}") for file in files}
    with storage_errors(root / record):
        try:
            for file, data in files.items():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                aside[file].write_bytes(data)
            for file in files:
                if file == record:
                    for old in gone:
                        (root / old).unlink(missing_ok=True)
                aside[file].replace(root / file)
        finally:
            for path in aside.values():
                path.unlink(missing_ok=True)
