"""Specs to begin with, commented and valid: of a data set, a run, an ablation, a table, a figure, a claim, or all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from mimflow.artifacts.manifest import write_text
from mimflow.data.sources.base import SPLITS
from mimflow.data.sources.folder import ImageFolder
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.errors import PlanError, SpecError
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Workspace
from mimflow.spec.base import SLUG
from mimflow.spec.compose import nearest, shown_path
from mimflow.spec.shipped import SHIPPED
from mimflow.spec.validate import NAME_HINT

TEMPLATES = Path(__file__).resolve().parent / "templates"
SYSTEMS = {"tarflow": "tarflow-mnist5k", "mimflow": "mimflow-photos"}
"""What a project of one's own images starts with, by the runs that come along."""
WIDTHS = (16, 32, 64, 128, 128)
"""Of a classifier's stages, each of half the pixels a side."""
VALIDATION = 5
"""One image in so many is for validation, where the folder does not say."""
TRAINING = """\
# How long it is trained, and with which step size:
phases:
  {phase}: {{{length}{lr}}}
"""
TWIN = """\
# It is no twin of a paper's run any more:
twin_of: null
deviations: null
"""
BATCH = 32
"""Images of a classifier's step, if there are so many."""


@dataclass(frozen=True)
class Asked:
    """What is known of a spec that is to be written."""

    name: str
    images: str | None = None
    """A folder of images."""
    size: int = 32
    """Pixels that a side of an image becomes."""
    dataset: str | None = None
    runs: Sequence[str] = ()
    protocol: str | None = None
    like: str | None = None
    """The run that a new one extends, of the project or one that comes along."""


def write_new(open_workspace: Callable[[], Workspace], kind: str, asked: Asked) -> list[str]:
    """Write the specs of a kind, `project` for all; the files written, as messages name them.

    `open_workspace` reads the project's specs. PlanError for a name that can't be one, a file that is there already,
    or something that has to be named; SpecError if what would be written contradicts what it names: it is not left.
    """
    known = [*MAKERS, "project"]
    if kind not in known:
        raise PlanError(f"no kind of spec '{kind}' to begin ({nearest(kind, known)})")
    if not SLUG.fullmatch(asked.name):
        raise PlanError(f"'{asked.name}' can't be a name ({NAME_HINT})")
    written: list[Path] = []
    for part, each in _whole(asked) if kind == "project" else [(kind, asked)]:
        workspace = open_workspace()  # what it names may just have been written
        path = workspace.root / "specs" / MAKERS[part][0] / f"{each.name}.yaml"
        if path.exists():
            raise PlanError(f"{shown_path(path, workspace.root)}: is there already (take another name, or remove it)")
        write_text(path, MAKERS[part][1](workspace, each))
        written.append(path)
    workspace = open_workspace()
    owners = [owner for owner, files in workspace.files.items() if set(files) & set(written)]
    if problems := workspace.problems_of(*owners):
        for path in written:
            path.unlink()
        raise SpecError("\n".join(problems))
    return [shown_path(path, workspace.root) for path in written]


def _whole(asked: Asked) -> Iterator[tuple[str, Asked]]:
    """Everything from a folder of images to a table."""
    name = asked.name
    yield "dataset", asked
    yield "classifier", Asked(f"{name}-classifier", dataset=name)
    yield "protocol", Asked(f"{name}-1k", dataset=name, runs=[f"{name}-classifier"])
    for system, like in SYSTEMS.items():
        yield "run", Asked(f"{name}-{system}", dataset=name, like=like)
    yield "table", Asked(name, protocol=f"{name}-1k", runs=[f"{name}-{system}" for system in SYSTEMS])


def _fill(template: str, **values: object) -> str:
    return Template((TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8")).substitute(values)


def _need(value: str | None, option: str, what: str) -> str:
    if not value:
        raise PlanError(f"{option}: missing ({what})")
    return value


def _dataset(workspace: Workspace, asked: Asked) -> str:
    path = _need(asked.images, "--images", "the folder of your images: a folder for each class in it")
    with chdir(workspace.root):
        folder = ImageFolder(ImageFolderSpec(path=path))
        by_split = all((folder.root / split).is_dir() for split in SPLITS)
        listing = folder.listing(by_split)
    count = len(listing.items)
    split = "# The folder's own `train` and `val`.\nsplit: {kind: folders}"
    if not by_split:
        val = max(len(listing.classes), count // VALIDATION)
        split = (
            "# So many images, of every class its share, are for validation; the others are trained on.\n"
            f"split: {{kind: stratified, val: {val}}}"
        )
    return _fill(
        "dataset",
        name=asked.name,
        path=path,
        images_found=f"{count:,}",
        num_classes=len(listing.classes),
        size=asked.size,
        split=split,
    )


def _classifier(workspace: Workspace, asked: Asked) -> str:
    dataset = workspace.get("dataset", _need(asked.dataset, "--dataset", "the data set that it is trained on")).spec
    # Halved by each stage; the last keeps two pixels a side or more.
    stages = max(1, min(len(WIDTHS), dataset.transform.size.bit_length() - 2))
    batch = min(BATCH, dataset.split_images.get("train", BATCH))
    return _fill("classifier", dataset=asked.dataset, widths=list(WIDTHS[:stages]), batch_size=batch)


def _run(workspace: Workspace, asked: Asked) -> str:
    name = _need(asked.dataset, "--dataset", "the data set that it is trained on")
    size = workspace.get("dataset", name).spec.transform.size
    source = _known(workspace, asked.like or next(iter(SYSTEMS.values())))
    like: RunSpec = source.workspace.runs[source.name].spec
    if not like.phases:
        raise PlanError(f"run '{source.name}' trains nothing, and has no training that a new one could change")
    phase = next(iter(like.phases))
    trained = like.phases[phase]
    lr = f", optimizer: {{lr: {trained.optimizer.lr:g}}}" if trained.optimizer is not None else ""
    length = f"epochs: {trained.epochs:g}" if trained.epochs is not None else f"steps: {trained.steps}"
    return _fill(
        "run",
        name=asked.name,
        like=source.name,
        dataset=name,
        patches=_patches(like, source.workspace.datasets[like.dataset].spec.transform.size, size),
        twin=TWIN if like.twin_of is not None else "",
        training="" if trained.objective.closed_form else TRAINING.format(phase=phase, length=length, lr=lr),
    )


@dataclass(frozen=True)
class _Known:
    """A run, and the specs among which it is: the project's, or those that come along."""

    workspace: Workspace
    name: str


def _known(workspace: Workspace, name: str) -> _Known:
    if name in workspace.runs:
        return _Known(workspace, name)
    shipped = _shipped()
    if name not in shipped.runs:
        hint = nearest(name, [*workspace.runs, *shipped.runs])
        raise PlanError(f"no run named '{name}', here or among those that come along" + (f" ({hint})" if hint else ""))
    return _Known(shipped, name)


@cache
def _shipped() -> Workspace:
    return Workspace(SHIPPED)


def _patches(like: RunSpec, old: int, new: int) -> str:
    """The line that keeps the number of patches where images have another size; nothing where they have the same."""
    patch = getattr(like.tokenizer, "patch_size", None)
    if patch is None or old == new:
        return ""
    if patch * new % old:
        raise PlanError(
            f"images of {new} pixels: no patches are to them as {patch} to {old} pixels (--size {old}, or a multiple)"
        )
    return (
        f"# As many patches as '{like.label or 'it'}' has of {old} pixels; smaller ones take longer and draw finer.\n"
        f"tokenizer: {{patch_size: {patch * new // old}}}\n"
    )


def _ablation(workspace: Workspace, asked: Asked) -> str:
    run = _need(next(iter(asked.runs), None), "--run", "the run that is varied")
    spec: RunSpec = workspace.get("run", run).spec
    phase = spec.last_phase
    optimizer = spec.phases[phase].optimizer if phase is not None else None
    path, values = "seeds", "[[0], [1]]"
    if optimizer is not None:
        path = f"phases.{phase}.optimizer.lr"
        values = f"[{optimizer.lr / 2:g}, {optimizer.lr:g}, {optimizer.lr * 2:g}]"
    return _fill("ablation", name=asked.name, run=run, path=path, values=values)


def _protocol(workspace: Workspace, asked: Asked) -> str:
    run = _need(next(iter(asked.runs), None), "--run", "the classifier whose features it looks through")
    if workspace.get("run", run).spec.classifier is None:
        raise PlanError(f"run '{run}' trains no classifier (mimflow new classifier NAME --dataset DATASET)")
    dataset = _need(asked.dataset, "--dataset", "the data set of the reference")
    return _fill("protocol", dataset=workspace.get("dataset", dataset).name, run=run)


def _table(workspace: Workspace, asked: Asked) -> str:
    runs = list(asked.runs)
    _need(next(iter(runs), None), "--run", "a run that it shows; several are given one by one")
    name = _need(asked.protocol, "--protocol", "the protocol that its numbers are measured under")
    protocol = workspace.get("protocol", name).spec
    outputs = {of: output for run in runs for of, output in workspace.get("run", run).spec.outputs.items()}
    columns = ["parameters", "epochs"]
    for of, output in outputs.items():
        measuring = [metric for metric in protocol.metrics if output.content in metric.measures]
        # The distance of distributions, which a protocol has first, and what says something else.
        told = dict.fromkeys([metric.numbers[0].name for metric in (*measuring[:1], *measuring[-1:])])
        columns += [f"{of}.{number}" for number in told]
    return _fill(
        "table",
        name=asked.name,
        protocol=name,
        rows="\n".join(f"  - run: {run}" for run in runs),
        columns="\n".join(f"  - {column}" for column in columns),
    )


def _figure(workspace: Workspace, asked: Asked) -> str:
    runs = list(asked.runs)
    _need(next(iter(runs), None), "--run", "a run that it shows; several are given one by one")
    name = _need(asked.protocol, "--protocol", "the protocol that its numbers are measured under")
    protocol = workspace.get("protocol", name).spec
    loaded = [workspace.get("run", run) for run in runs]
    swept = {of for run in loaded for of in run.sweeps}
    points = {point for run in loaded for sweep in run.sweeps.values() for point in sweep.names}
    held = {of: output.content for run in loaded for of, output in run.spec.outputs.items() if of not in points}
    held |= {of: run.spec.outputs[sweep.names[0]].content for run in loaded for of, sweep in run.sweeps.items()}
    found = [
        (of, metric.numbers[0].name)
        for metric in protocol.metrics
        for of, content in held.items()
        if content in metric.measures and all(of in {*run.spec.outputs, *run.sweeps} for run in loaded)
    ]
    if not found:
        raise PlanError(f"'{name}' measures no output of {' and '.join(runs)}")
    curves = [(of, number) for of, number in found if of in swept and all(of in run.sweeps for run in loaded)]
    if curves:
        of, number = curves[0]
        draw = f"kind: curve\n  x: {{sweep: {of}}}\n  y: [{of}.{number}]"
    else:
        plain = [(of, number) for of, number in found if of not in swept] or found
        draw = f"kind: bars\n  y: [{', '.join(f'{of}.{number}' for of, number in plain if number == plain[0][1])}]"
    return _fill("figure", name=asked.name, protocol=name, rows="\n".join(f"  - run: {run}" for run in runs), draw=draw)


def _claim(workspace: Workspace, asked: Asked) -> str:
    if len(asked.runs) != 2:
        raise PlanError("--run: twice (the run that is claimed to be better, and the one that it is compared with)")
    name = _need(asked.protocol, "--protocol", "the protocol that both are measured under")
    protocol = workspace.get("protocol", name).spec
    claimed, against = (workspace.get("run", run).spec.outputs for run in asked.runs)
    for output in claimed:
        for metric in protocol.metrics:
            if output not in against or claimed[output].content not in metric.measures:
                continue
            for number in metric.numbers:
                if number.direction is not None:
                    return _fill(
                        "claim",
                        protocol=name,
                        metric=number.name,
                        direction=number.direction,
                        claimed=asked.runs[0],
                        against=asked.runs[1],
                        output=output,
                    )
    raise PlanError(f"'{name}' measures no output of both {' and '.join(asked.runs)}")


MAKERS: dict[str, tuple[str, Callable[[Workspace, Asked], str]]] = {
    "dataset": ("datasets", _dataset),
    "classifier": ("mini", _classifier),
    "run": ("mini", _run),
    "ablation": ("ablations", _ablation),
    "protocol": ("protocols", _protocol),
    "table": ("tables", _table),
    "figure": ("figures", _figure),
    "claim": ("claims", _claim),
}
"""What can be begun: the folder of `specs` that it goes to, and what writes it."""
