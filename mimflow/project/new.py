"""Specs to begin with, commented and valid: of a data set, a run, an ablation, a table, a figure, a claim, or all."""

from __future__ import annotations

import os
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
from mimflow.outputs.spec import OutputSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.base import SLUG
from mimflow.spec.compose import nearest, shown_path
from mimflow.spec.shipped import SHIPPED
from mimflow.spec.validate import NAME_HINT
from mimflow.training.spec import Phase

TEMPLATES = Path(__file__).resolve().parent / "templates"
SYSTEMS = {"TARFlow": "tarflow-mnist5k", "MIMFlow": "mimflow-photos"}
"""What a project of one's own images starts with, and the runs that come along which it extends."""
CONTENTS = ("samples", "reconstructions", "representation", "interpolations", "likelihood")
"""What a new run gives, of what the one that it extends does."""
WIDTHS = (16, 32, 64, 128, 128)
"""Of a classifier's stages, each of half the pixels a side."""
VALIDATION = 5
"""One image in so many is for validation, where the folder does not say."""
TRAINING = """\
# How long it is trained, and with which step size:
phases:
{phases}
"""
OUTPUTS_LEFT_OUT = """\
# '{label}' gives these too, and each takes time; without its line it is there again.
outputs:
{outputs}
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
    epochs: float | None = None
    """How long each phase of a run is; as long as of the one that it extends, if None."""
    label: str = ""
    """What a run is called in tables; if empty, its name."""


def from_root(root: Path, path: str) -> str:
    """A path as specs have it, relative to the project, of one that is typed in the working folder."""
    absolute = Path(path).is_absolute() or path.startswith("~")
    return path if absolute else Path(os.path.relpath(path, root)).as_posix()


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
    runs = {f"{name}-{system.lower()}": (system, like) for system, like in SYSTEMS.items()}
    for run, (system, like) in runs.items():
        yield "run", Asked(run, dataset=name, like=like, epochs=asked.epochs, label=system)
    yield "table", Asked(name, protocol=f"{name}-1k", runs=list(runs))


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
    like: RunSpec = source.loaded.spec
    if not like.phases:
        raise PlanError(f"run '{source.name}' trains nothing, and has no training that a new one could change")
    training = [
        f"  {phase}: {{{_length(trained, asked.epochs)}, optimizer: {{lr: {trained.optimizer.lr:g}}}"
        f"{_warm_up(trained, asked.epochs)}}}"
        for phase, trained in like.phases.items()
        if trained.optimizer is not None
    ]
    return _fill(
        "run",
        name=asked.name,
        label=asked.label or asked.name,
        like=source.name,
        dataset=name,
        patches=_patches(like, source.workspace.datasets[like.dataset].spec.transform.size, size),
        outputs=_left_out(source.loaded) if source.workspace is not workspace else "",
        twin=TWIN if like.twin_of is not None else "",
        training=TRAINING.format(phases="\n".join(training)) if training else "",
    )


def _length(phase: Phase, epochs: float | None) -> str:
    """How long a phase is, as a spec says it; as it is, or so many epochs."""
    if epochs is not None:
        return f"epochs: {epochs:g}" + (", steps: null" if phase.steps is not None else "")
    return f"epochs: {phase.epochs:g}" if phase.epochs is not None else f"steps: {phase.steps}"


def _warm_up(phase: Phase, epochs: float | None) -> str:
    """The warm-up that a phase of so many epochs has: the share that it had, a tenth where that can't be told."""
    schedule = phase.schedule
    if epochs is None or not (schedule.warmup_steps or schedule.warmup_epochs):
        return ""
    share = 0.1
    if phase.epochs is not None and schedule.warmup_epochs:
        share = schedule.warmup_epochs / phase.epochs
    elif phase.steps is not None and schedule.warmup_steps:
        share = schedule.warmup_steps / phase.steps
    in_steps = "warmup_steps: 0, " if schedule.warmup_steps else ""
    return f", schedule: {{{in_steps}warmup_epochs: {share * epochs:.2g}}}"


@dataclass(frozen=True)
class _Known:
    """A run, and the specs among which it is: the project's, or those that come along."""

    workspace: Workspace
    name: str

    @property
    def loaded(self) -> Loaded[RunSpec]:
        return self.workspace.runs[self.name]


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


def _left_out(like: Loaded[RunSpec]) -> str:
    """The lines that leave out what a run of a paper's study gives beside what any run does; nothing if there is none.

    The page of a run makes and measures all its outputs.
    """
    shown = _shown_outputs(like)
    points = {name for sweep in like.sweeps.values() for name in sweep.names}
    others = [name for name in (*like.spec.outputs, *like.sweeps) if name not in shown and name not in points]
    if not others:
        return ""
    lines = "\n".join(f"  {name}: null" for name in others)
    return OUTPUTS_LEFT_OUT.format(label=like.spec.label or like.name, outputs=lines)


def _shown_outputs(run: Loaded[RunSpec]) -> dict[str, OutputSpec]:
    """Of samples, with guidance and without, and of what else one looks at first, the first output; of no sweep."""
    points = {name for sweep in run.sweeps.values() for name in sweep.names}
    found: dict[tuple[str, bool], str] = {}
    for name, output in run.spec.outputs.items():
        if name not in points and output.content in CONTENTS:
            found.setdefault((output.content, getattr(output, "guidance", None) is not None), name)
    return {name: run.spec.outputs[name] for name in found.values()}


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
    outputs = {of: output for run in runs for of, output in _shown_outputs(workspace.get("run", run)).items()}
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
