"""The pins of a project's data sets: `specs/datasets/NAME.lock`, written by `mimflow data lock`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from pydantic import ValidationError

from mimflow.artifacts.manifest import Artifact, canonical, write_text
from mimflow.artifacts.verified import FOLDER, is_known, make_known
from mimflow.data.pins import Pin, pin_of, read_folder
from mimflow.data.sources.folder import ImageFolder, counted
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.data.spec import DatasetSpec
from mimflow.errors import PlanError, SpecError
from mimflow.progress import Progress
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.compose import shown_path

NAMED = 3
"""Changed images that a message names."""


def pin_file(loaded: Loaded[DatasetSpec]) -> Path:
    """Where the pin of a data set lies: beside its spec."""
    return loaded.file.with_suffix(".lock")


def read_pin(loaded: Loaded[DatasetSpec]) -> Pin | None:
    """The pin of a data set; None for one of a package, or not pinned yet. SpecError for a file that is none."""
    path = pin_file(loaded)
    if not isinstance(loaded.spec.source, ImageFolderSpec) or not path.is_file():
        return None
    try:
        return Pin.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise SpecError(f"{path}:1:1: not a pin of a data set (`mimflow data lock {loaded.name}` writes it)") from error


def folder_problem(workspace: Workspace, name: str, prepared: Artifact | None) -> str | None:
    """Why the folder of a data set is not what is pinned, in a line; None if it is, or if it is not here at all.

    Names and sizes are compared. Where it is prepared already, files that were touched since are read again.
    """
    loaded = workspace.datasets[name]
    source = loaded.spec.source
    if not isinstance(source, ImageFolderSpec):
        return None
    with chdir(workspace.root):
        folder = ImageFolder(source)
        if not folder.root.is_dir():
            return None
        pin = read_pin(loaded)
        if pin is None:
            return (
                f"data set '{name}': the images in {source.path} are not pinned yet (`mimflow data lock {name}` writes "
                f"{shown_path(pin_file(loaded), workspace.root)}, which belongs into the repository)"
            )
        stamps = list(folder.stamps(_by_split(loaded.spec)))
        now = pin_of(folder, stamps)
        if now.listing == pin.listing:
            changed = _changed_since(prepared, source, stamps) if prepared is not None else []
            return _changed_problem(name, source.path, changed)
    return (
        f"data set '{name}': {source.path} holds {now.images:,} images of {now.bytes:,} bytes in all, "
        f"{pin.images:,} of {pin.bytes:,} are pinned (put back those that are, or `mimflow data lock {name}`, "
        "which makes all that depends on them anew)"
    )


def _changed_since(prepared: Artifact, source: ImageFolderSpec, stamps: list[tuple[str, int, int]]) -> list[str]:
    """The images of a folder that changed after it was prepared, if any file was touched at all; in the project.

    Touched files are read once: what was found to be the same is remembered by the sizes and times of all.
    """
    from mimflow.data.prepared import changed_sources, touched  # numpy, which a plan can do without

    if not touched(prepared, stamps):
        return []
    looked_at = hashlib.sha256(canonical([prepared.manifest.key, sorted(stamps)]).encode()).hexdigest()
    if is_known(Path(FOLDER), looked_at):
        return []
    changed = changed_sources(prepared, source)
    if not changed:
        make_known(Path(FOLDER), looked_at)
    return changed


def _changed_problem(name: str, path: str, changed: list[str]) -> str | None:
    if not changed:
        return None
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return (
        f"data set '{name}': {path} changed after it was prepared: {', '.join(changed[:NAMED])}{more} "
        f"(put the images back, or `mimflow data lock {name}`, which makes all that depends on them anew)"
    )


def lock(workspace: Workspace, names: list[str], contents: bool) -> Iterator[str]:
    """Pin the folders of data sets, all that are here if none is named; a line for each.

    PlanError for a name that is no data set of a folder, DataError for a folder that is not there or empty.
    """
    folders = {
        loaded.name: source
        for loaded in workspace.all("dataset")
        if isinstance(source := loaded.spec.source, ImageFolderSpec)
    }
    with chdir(workspace.root):
        here = [name for name, source in folders.items() if ImageFolder(source).root.is_dir()]
        for name in names or here:
            yield _lock(workspace, workspace.get("dataset", name), contents)
    if not names and not here:
        yield "no data set of a folder that is here"


def _lock(workspace: Workspace, loaded: Loaded[DatasetSpec], contents: bool) -> str:
    source = loaded.spec.source
    if not isinstance(source, ImageFolderSpec):
        raise PlanError(f"data set '{loaded.name}' comes with a package: there is nothing to pin")
    folder, by_split = ImageFolder(source), _by_split(loaded.spec)
    left_out = folder.listing(by_split).left_out  # says what is wrong with it
    old = read_pin(loaded)
    if contents:
        progress = Progress(f"data lock {loaded.name}")
        progress.start(len(folder.names(by_split)), unit="image")
        pin = read_folder(folder, by_split, progress.advance)
    else:
        pin = pin_of(folder, folder.stamps(by_split))
    path = pin_file(loaded)
    write_text(path, json.dumps(pin.model_dump(mode="json"), indent=1) + "\n")
    what = "unchanged" if old == pin else "written" if old is None else "changed: what depends on it is stale"
    left = f" (left out, because they are no images: {counted(left_out)})" if left_out else ""
    return f"{shown_path(path, workspace.root)}: {pin.images:,} images, {pin.bytes:,} bytes: {what}{left}"


def _by_split(dataset: DatasetSpec) -> bool:
    return dataset.split.kind != "stratified"
