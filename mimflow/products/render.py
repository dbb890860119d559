"""Renders any product: its files, and the record of what they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from mimflow.artifacts.lock import locked
from mimflow.artifacts.manifest import FileRecord, Manifest
from mimflow.artifacts.provenance import describe_process
from mimflow.errors import ArtifactError, PlanError, storage_errors
from mimflow.plan import paths
from mimflow.plan.freshness import number_digests, product_identity, product_key, product_record
from mimflow.plan.product import Product
from mimflow.products.logs import log_files

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
    files = {**product.render(partial), **log_files(product)}
    record = Manifest(
        stage="render",
        name=product.name,
        key=product_key(identity),
        task=identity,
        inputs=inputs,
        files={name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()},
        facts={"evaluations": len(inputs)},
        made=describe_process(product.root),
    )
    before = _files_before(product)
    files[paths.product_record(product.name)] = record.to_json().encode()
    name = product.name.replace("/", "-")
    lock = paths.work_lock(product.root, f"render-{name}")
    with locked(lock, f"{product.kind.name} {product.name}"):
        _write(product.root, name, files, before - files.keys())
    return [product.root / name for name in files]


def require_all(product: Product) -> None:
    """PlanError that names the jobs of a product whose results are not in the store, if there are any."""
    missing = [f"{job.stage} {name}" for name, job in product.jobs().items() if not job.done(product.root)]
    if missing:
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise PlanError(
            f"{product.kind.name} '{product.name}': {len(missing)} result{'s are' if len(missing) > 1 else ' is'} "
            f"not there yet: {', '.join(missing[:LISTED])}{more} (run `snakemake --cores all {product.files[0]}`, "
            "or `mimflow render --partial`)"
        )


def _files_before(product: Product) -> set[str]:
    """What the last render wrote: files of rows that are no longer there are removed."""
    try:
        record = product_record(product)
    except ArtifactError:
        return set()
    return set() if record is None else set(record.files)


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
