"""What a figure can draw: a spec for each kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, Tag

from mimflow.artifacts.samples import PAIRS, STRIP
from mimflow.contents.registry import CONTENTS
from mimflow.project.ablation import DottedPath
from mimflow.project.run import RunSpec
from mimflow.project.sweep import Sweep
from mimflow.project.workspace import Loaded
from mimflow.spec.base import SLUG, Count, Name, Problem, Spec, repeated
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import nearest
from mimflow.spec.forms import FORM, MAPPING, WORD

_NUMBER = re.compile(rf"(?P<output>{SLUG.pattern})\.(?P<metric>{SLUG.pattern})")
FACTS = ("parameters", "prior_parameters", "epochs")
"""What a training knows of itself, and a point can lie at."""
POWER = "spectrum"
"""What the names of spectra of power have in them; these are drawn on logarithmic axes."""
Runs = Mapping[str, Loaded[RunSpec]]


class MeasuredValue(Spec):
    """A metric of an output where a word does not say it all."""

    output: Name
    """A named output of the runs; the name of a sweep means each of its points."""
    metric: Name
    """What a metric of the protocol reports: `fid`, `is`, `recall`."""
    protocol: Name | None = None
    """The protocol that it is measured under; not given: the figure's."""
    label: str | None = None
    """What its axis says; not given: the metric's label, with the number of images where the literature gives it."""

    @classmethod
    def read(cls, value: str | MeasuredValue) -> MeasuredValue:
        """What a word or a mapping means."""
        if isinstance(value, MeasuredValue):
            return value
        match = _NUMBER.fullmatch(value)
        assert match is not None, "refused by its pattern"
        return cls(output=match["output"], metric=match["metric"])

    @property
    def name(self) -> str:
        """`guided.fid`."""
        return f"{self.output}.{self.metric}"


ValueForm = Annotated[
    Annotated[str, Tag(WORD), Field(pattern=rf"^{SLUG.pattern}\.{SLUG.pattern}$")]
    | Annotated[MeasuredValue, Tag(MAPPING)],
    FORM,
]
"""`guided.fid`, or `{output: guided, metric: fid, protocol: …}`."""


class DrawingSpec(Spec):
    """What every kind of drawing can say."""

    samples: ClassVar[bool] = False
    """Whether a row of samples that were made elsewhere can be drawn."""
    needs_protocol: ClassVar[bool] = True
    """Whether it draws what a protocol measures or asks for."""

    kind: str

    @property
    def asked(self) -> list[tuple[FieldPath, MeasuredValue]]:
        """The numbers that it draws, in order, each with the place at which it is named."""
        return []

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        """Why it can't be drawn of these runs. Paths are relative to the drawing."""
        return iter(())


class Axis(Spec):
    """What points lie at: a field of the runs, the values of a sweep, or what a training knows of itself."""

    field: DottedPath | None = None
    """A field of the runs, `prior.width`; beside `sweep` the field of the output, where it sweeps several."""
    sweep: Name | None = None
    """An output that the runs sweep, whose points a curve joins."""
    fact: Literal["parameters", "prior_parameters", "epochs"] | None = None
    """`parameters` of the whole system, `prior_parameters`, which papers count, or `epochs`."""
    label: str | None = None
    """What the axis says; not given: the field's last word."""

    def problems(self) -> Iterator[Problem]:
        given = [name for name in ("field", "sweep", "fact") if getattr(self, name) is not None]
        if len(given) != 1 and given != ["field", "sweep"]:
            what = " and ".join(given) or "none of field, sweep and fact"
            yield Problem((), f"gives {what}", "one of them: {field: prior.width}, {sweep: guided}, {fact: parameters}")

    @property
    def name(self) -> str:
        """What files call it: `prior.width`, `guided`, `parameters`."""
        return self.sweep or self.field or self.fact or ""


class CurveDrawing(DrawingSpec):
    """Numbers over a field of the runs, or over the points of a sweep; a panel for each number.

    The runs of an ablation are one curve, and so are rows that have one label; of a sweep each run is one.
    """

    samples: ClassVar[bool] = False

    kind: Literal["curve"] = "curve"
    x: Axis
    y: list[ValueForm] = Field(min_length=1)
    """The numbers: of a sweep those of its points, `guided.fid`."""
    log_x: bool = False
    log_y: bool = False
    best: bool = False
    """Ring the best point of each curve, by the metric's better end."""

    @property
    def asked(self) -> list[tuple[FieldPath, MeasuredValue]]:
        return _read("y", self.y)

    def problems(self) -> Iterator[Problem]:
        if self.x.sweep is None:
            return
        for path, value in self.asked:
            if value.output != self.x.sweep:
                yield Problem(
                    path, f"'{value.name}' is no number of the sweep '{self.x.sweep}'", f"{self.x.sweep}.{value.metric}"
                )

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        if self.x.sweep is not None:
            yield from sweep_problems(self.x, runs)
        elif self.x.field is not None:
            for name, run in runs.items():
                missing = missing_step(run.spec, self.x.field)
                if missing is not None:
                    yield Problem(("x", "field"), f"run '{name}' has no field '{self.x.field}'", missing)


class TradeoffDrawing(DrawingSpec):
    """One number over another: a point a run, and a line through the points of a sweep.

    An ablation's runs, and rows that have one label, share colour and marker where the row has a label of its own.
    """

    samples: ClassVar[bool] = True

    kind: Literal["tradeoff"] = "tradeoff"
    x: ValueForm
    y: ValueForm
    log_x: bool = False
    log_y: bool = False
    join: bool = False
    """Join the points that share a label by a line, in the order of the rows; a sweep's are joined anyway."""

    @property
    def asked(self) -> list[tuple[FieldPath, MeasuredValue]]:
        return [(("x",), MeasuredValue.read(self.x)), (("y",), MeasuredValue.read(self.y))]

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        x, y = (value.output for _, value in self.asked)
        for name, run in runs.items():
            if x != y and x in run.sweeps and y in run.sweeps:
                yield Problem(
                    ("y",),
                    f"run '{name}' sweeps both '{x}' and '{y}'",
                    f"two numbers of one of them: {x}.{self._metric}",
                )

    @property
    def _metric(self) -> str:
        return MeasuredValue.read(self.y).metric


class BarsDrawing(DrawingSpec):
    """Bars with their spread, a group for each row; a panel for each metric, a colour for each output."""

    samples: ClassVar[bool] = True

    kind: Literal["bars"] = "bars"
    y: list[ValueForm] = Field(min_length=1)
    log_y: bool = False

    @property
    def asked(self) -> list[tuple[FieldPath, MeasuredValue]]:
        return _read("y", self.y)


class TrainingDrawing(DrawingSpec):
    """Figures of trainings' logs over steps or epochs; a panel for each figure, a curve for each run."""

    needs_protocol: ClassVar[bool] = False

    kind: Literal["training"] = "training"
    y: list[str] = Field(default=["loss"], min_length=1)
    """Columns of `log.csv`; a run whose log has no such column has no curve there."""
    x: Literal["step", "epoch"] = "step"
    phase: Name | None = None
    """The phase whose log is drawn; not given: each run's last."""
    log_x: bool = False
    log_y: bool = False

    def problems(self) -> Iterator[Problem]:
        for place, column in enumerate(self.y):
            if column in self.y[:place]:
                yield Problem(("y", place), f"'{column}' twice", "each once")

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        for name, run in runs.items():
            phase = self.phase or run.spec.last_phase
            if phase is None:
                yield Problem((), f"run '{name}' trains nothing", "leave it out")
            elif phase not in run.spec.phases:
                yield Problem(("phase",), f"run '{name}' has no phase '{phase}'", nearest(phase, run.spec.phases))
            elif run.spec.phases[phase].objective.closed_form:
                yield Problem(("phase",), f"phase '{phase}' of run '{name}' is in closed form", "it has no steps")


class SnapshotsDrawing(DrawingSpec):
    """Numbers over a training: each point lies at the share of the phase at which its output's snapshot was taken.

    The runs of an ablation are one curve, as `specs/ablations/tarflow-over-training.yaml` has them; so are the points
    of an output that sweeps its snapshot.
    """

    kind: Literal["snapshots"] = "snapshots"
    y: list[ValueForm] = Field(min_length=1)
    log_y: bool = False
    best: bool = False
    """Ring the best point of each curve, by the metric's better end."""

    @property
    def asked(self) -> list[tuple[FieldPath, MeasuredValue]]:
        return _read("y", self.y)


class SpectrumDrawing(DrawingSpec):
    """What metrics find as functions, beside that of the reference where there is one: radial spectra of power, along
    the sequence or over the grid, on logarithmic axes; autocorrelations on linear ones. A panel for each function.
    """

    kind: Literal["spectrum"] = "spectrum"
    output: Name
    """An output of latents or of images."""
    curves: list[str] | None = None
    """`latent_spectrum_1d`, `latent_spectrum_2d`, `image_spectrum`, `difference_spectrum`, `autocorrelation_curve`; not
    given: all spectra of power that the protocol's metrics find of the output."""
    reference: bool = True
    """Whether the reference's is drawn where a metric finds it."""

    def problems(self) -> Iterator[Problem]:
        if self.curves == []:
            yield Problem(("curves",), "empty", "leave it out for all spectra")

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        yield from output_problems(self.output, runs)


class GridDrawing(DrawingSpec):
    """Samples, a block for each row: a line for each class, so many images in it. Pixels are as they are."""

    kind: Literal["grid"] = "grid"
    output: Name
    """An output of samples; the name of a sweep means a block for each of its points."""
    classes: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Classes by number; not given: all of them, or ten that lie evenly among them."""
    count: Count = 8
    """Images of each class: the first that were drawn."""
    blocks: Count | None = None
    """Blocks side by side; not given: one at column width, two at a page's."""

    def problems(self) -> Iterator[Problem]:
        yield from repeated("classes", self.classes, "class")

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        yield from output_problems(self.output, runs, tuple(name for name in CONTENTS if name == "samples"))


class StripDrawing(DrawingSpec):
    """Originals above their reconstructions, or the ways from one image to another: a block for each row."""

    kind: Literal["strip"] = "strip"
    output: Name
    """An output of reconstructions, of bands or of interpolations."""
    count: Count = 8
    """Pairs of original and reconstruction in a block, or ways."""

    def run_problems(self, runs: Runs) -> Iterator[Problem]:
        shown = tuple(name for name, content in CONTENTS.items() if content.pictured in (PAIRS, STRIP))
        yield from output_problems(self.output, runs, shown)


class PythonDrawing(DrawingSpec):
    """A function of your own, which draws the measured values: `draw(values, figure)`.

    `values` is a data frame with a line for each row, seed and number: row, run, seed, output, point, metric, protocol,
    value, reason. `figure` is an empty matplotlib `Figure` in the style of all others. What the function returns is
    not looked at.
    """

    samples: ClassVar[bool] = True

    kind: Literal["python"] = "python"
    function: Annotated[str, Field(pattern=r"^[^:\s]+:[A-Za-z_][A-Za-z0-9_]*$")]
    """`figures/mine.py:draw`, a file of the project, or `mypackage.figures:draw`, a module of it or one that is
    installed. Its source is part of what the figure depends on."""
    values: list[ValueForm] = Field(min_length=1)
    """The numbers that it gets."""
    height: Annotated[float, Field(gt=0, le=20)] = 2.4
    """Inches of the figure's height."""

    @property
    def asked(self) -> list[tuple[FieldPath, MeasuredValue]]:
        return _read("values", self.values)


def _read(name: str, values: list[str | MeasuredValue]) -> list[tuple[FieldPath, MeasuredValue]]:
    return [((name, place), MeasuredValue.read(value)) for place, value in enumerate(values)]


def sweep_problems(axis: Axis, runs: Runs) -> Iterator[Problem]:
    """Whether every run sweeps the output of an axis, and by which field where there are several."""
    for name, run in runs.items():
        sweep = run.sweeps.get(axis.sweep or "")
        if sweep is None:
            hint = f"outputs that are swept: {', '.join(run.sweeps)}" if run.sweeps else "weight: {sweep: [1, 2]}"
            yield Problem(("x", "sweep"), f"run '{name}' does not sweep '{axis.sweep}'", hint)
            continue
        fields = swept_fields(sweep)
        if axis.field is None and len(fields) > 1:
            hint = f"{{sweep: {axis.sweep}, field: {fields[0]}}}"
            yield Problem(("x",), f"'{axis.sweep}' of run '{name}' sweeps {' and '.join(fields)}", hint)
        elif axis.field is not None and axis.field not in fields:
            yield Problem(
                ("x", "field"),
                f"'{axis.sweep}' of run '{name}' does not sweep '{axis.field}'",
                nearest(axis.field, fields),
            )


def swept_fields(sweep: Sweep) -> list[str]:
    """The fields of an output that a sweep sets, in order."""
    return list(sweep.points[0].values)


def output_problems(output: str, runs: Runs, contents: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Whether a run has the output or sweeps it, and whether it holds one of the `contents`, where these are given."""
    having = {name: run for name, run in runs.items() if output in run.sweeps or output in run.spec.outputs}
    if runs and not having:
        known = dict.fromkeys(each for run in runs.values() for each in (*run.sweeps, *run.spec.outputs))
        yield Problem(("output",), f"no run of the figure has an output '{output}'", nearest(output, known))
    for name, run in having.items():
        first = run.sweeps[output].names[0] if output in run.sweeps else output
        content = run.spec.outputs[first].content
        if contents and content not in contents:
            yield Problem(
                ("output",),
                f"output '{output}' of run '{name}' gives {content}",
                f"one that gives {' or '.join(contents)}",
            )


def missing_step(spec: Spec, dotted: str) -> str | None:
    """What is known instead of the first step of a path that a spec does not have; None where it has all of it."""
    value: object = spec
    for step in dotted.split("."):
        known = _steps(value)
        if step not in known:
            return nearest(step, known) or "no field of that"
        value = known[step]
    return None


def value_at(spec: Spec, dotted: str) -> object:
    """What a spec has at a path that it has: plain, or a part."""
    value: object = spec
    for step in dotted.split("."):
        value = _steps(value)[step]
    return value


def _steps(value: object) -> dict[str, object]:
    """What a value holds, by the names that files have for it."""
    if isinstance(value, Spec):
        return {written: getattr(value, name) for name, written in type(value).written_names().items()}
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    return {str(place): item for place, item in enumerate(value)} if isinstance(value, (list, tuple)) else {}
