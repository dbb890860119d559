"""Blocks of images: samples class by class, reconstructions under their originals, ways between images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimflow.artifacts.pictures import GAP, WHITE, fit, lay_out
from mimflow.artifacts.samples import STRIP, read_labels, read_some
from mimflow.contents.registry import CONTENTS
from mimflow.plan.jobs import Job
from mimflow.products.figure import style
from mimflow.products.figure.base import Drawing, Drawn, missing
from mimflow.products.figure.drawing import GridDrawing, StripDrawing
from mimflow.tasks import InferTask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 10
"""Images in a line at most."""
CLASSES = 10
"""Classes at most where the spec names none."""
LEAST, MOST = 64, 256
"""Pixels of an image in the files: small ones are enlarged by a whole factor, larger ones scaled down."""
SIDE_BY_SIDE = {"column": 1, "page": 2}
"""Blocks in a line where the spec does not say how many."""
TITLE, NAMES = 0.22, 0.3
"""Inches of a block's title, and of what stands at the left of its lines."""
LARGEST = 0.75
"""Inches of an image at most."""


@dataclass(frozen=True)
class Made:
    """An output of a run, and the job that makes it with the run's first seed."""

    name: str
    """`tarflow.s0.unguided`."""
    title: str
    run: str
    output: str
    job: Job
    file: str
    """The file of its images."""


@dataclass(frozen=True)
class Line:
    """Images of a line by their places in the file, and what is said at its left."""

    text: str
    places: tuple[int, ...]


class Images(Drawing):
    """A block for each row; of a sweep one for each point."""

    spec: Any

    @cached_property
    def _made(self) -> list[Made]:
        plan, name = self.figure.plan, self.figure.spec.protocol
        assert name is not None, "refused by FigureSpec"
        protocol = plan.workspace.protocols[name].spec
        made = []
        for row in self.figure.rows:
            for output in row.outputs_of(self.spec.output):
                seed, label = row.seeds[0], row.point_label(self.spec.output, output)
                job = plan.infer(row.name, output, protocol, seed)
                title = ", ".join([self.figure.table_name(row), *([label] if label else [])])
                made.append(Made(f"{row.name}.s{seed}.{output}", title, row.name, output, job, _file(job)))
        return made

    def jobs(self) -> Mapping[str, Job]:
        return {made.name: made.job for made in self._made}

    def shown(self) -> Mapping[str, tuple[Job, str]]:
        return {made.name: (made.job, made.file) for made in self._made}

    @abstractmethod
    def lines(self, said: np.ndarray, made: Made) -> tuple[list[Line], list[str]]:
        """The lines of a block, and remarks, given what its file (N,) says of each image."""

    def draw(self, canvas: Figure) -> Drawn:
        remarks = list(missing(self.figure, self.jobs(), "infer"))
        values: list[dict[str, object]] = []
        blocks: list[tuple[str, list[Line], np.ndarray]] = []
        for made in self._made:
            artifact = made.job.result(self.figure.root)
            if artifact is None:
                continue
            path = artifact.file(made.file)
            said = read_labels(path)
            lines, remarked = self.lines(said, made)
            remarks += remarked
            if lines:
                blocks.append((made.title, lines, _mosaic(path, lines)))
                values += _values(made, lines, said)
        self._draw_blocks(canvas, blocks)
        return Drawn(values, tuple(dict.fromkeys(remarks)))

    def _draw_blocks(self, canvas: Figure, blocks: list[tuple[str, list[Line], np.ndarray]]) -> None:
        inches = style.WIDTHS[self.figure.spec.width]
        if not blocks:
            style.nothing(canvas, "no images yet")
            canvas.set_size_inches(inches, 2 * TITLE)
            return
        asked = getattr(self.spec, "blocks", None) or SIDE_BY_SIDE[self.figure.spec.width]
        across = min(asked, len(blocks))
        down = -(-len(blocks) // across)
        longest = max(len(line.places) for _, lines, _ in blocks for line in lines)
        named = NAMES if any(line.text for _, lines, _ in blocks for line in lines) else 0.0
        width = min(inches / across - named, longest * LARGEST)
        height = max(width * mosaic.shape[0] / mosaic.shape[1] for _, _, mosaic in blocks) + TITLE
        canvas.set_size_inches(inches, down * height)
        axes = list(canvas.subplots(down, across, squeeze=False).flatten())
        for axis in axes[len(blocks) :]:
            axis.set_axis_off()
        for axis, (title, lines, mosaic) in zip(axes, blocks, strict=False):
            _draw_block(axis, title, lines, mosaic)


class Grid(Images):
    """Samples, class by class."""

    spec: GridDrawing

    def lines(self, said: np.ndarray, made: Made) -> tuple[list[Line], list[str]]:
        """A line for each class, or several where its images don't fit into one."""
        there = np.unique(said)
        asked = self.spec.classes
        if asked is None:
            asked = there[np.linspace(0, len(there) - 1, min(len(there), CLASSES)).round().astype(int)].tolist()
        lines, remarks = [], []
        for label in asked:
            places = np.flatnonzero(said == label)[: self.spec.count].tolist()
            if len(places) < self.spec.count:
                remarks.append(f"{made.title}: {len(places)} samples of class {label}, not {self.spec.count}.")
            for start in range(0, len(places), ACROSS):
                text = str(label) if len(asked) > 1 and not start else ""
                lines.append(Line(text, tuple(places[start : start + ACROSS])))
        return lines, remarks


class Strip(Images):
    """Originals above their reconstructions, or ways from one image to another."""

    spec: StripDrawing

    def lines(self, said: np.ndarray, made: Made) -> tuple[list[Line], list[str]]:
        """Of pairs some that lie evenly among the classes; of ways the first."""
        if made.file == STRIP:
            steps = int(said.max()) + 1
            ways = min(self.spec.count, len(said) // steps)
            lines = [Line("", tuple(range(way * steps, (way + 1) * steps))) for way in range(ways)]
            return lines, self._too_few(ways, "ways", made)
        pairs = len(said) // 2
        shown = min(self.spec.count, pairs)
        places = (2 * np.linspace(0, pairs - 1, shown).round().astype(int)).tolist()
        lines = []
        for start in range(0, shown, ACROSS):
            some = places[start : start + ACROSS]
            lines += [Line("original", tuple(some)), Line("decoded", tuple(place + 1 for place in some))]
        return lines, self._too_few(shown, "pairs", made)

    def _too_few(self, there: int, what: str, made: Made) -> list[str]:
        """That the file keeps fewer than are asked for: outputs keep some for pictures, not all."""
        if there >= self.spec.count:
            return []
        return [f"{made.title}: {there} {what}, not {self.spec.count}: no more are kept for pictures."]


def _file(job: Job) -> str:
    """The file of an output whose images pictures show."""
    assert isinstance(job.task, InferTask)
    file = CONTENTS[job.task.output.content].pictured
    assert file is not None, "refused by check_figure"
    return file


def _mosaic(path: Path, lines: list[Line]) -> np.ndarray:
    """The images of some lines as one (H, W, 3) uint8; white where a line is shorter than the longest."""
    places = [place for line in lines for place in line.places]
    tiles = iter([fit(image, LEAST, MOST) for image in read_some(path, places)])
    across = max(len(line.places) for line in lines)
    filled: list[np.ndarray] = []
    for line in lines:
        own = [next(tiles) for _ in line.places]
        filled += [*own, *[np.full_like(own[0], WHITE)] * (across - len(own))]
    return lay_out(filled, across)


def _draw_block(axis: Axes, title: str, lines: list[Line], mosaic: np.ndarray) -> None:
    # "none": no pixel is smoothed, and vector files hold the pixels as they are.
    axis.imshow(mosaic, interpolation="none")
    axis.set_title(style.drawable(title, 60), loc="left", pad=3)
    pitch = (mosaic.shape[0] + GAP) / len(lines)
    named = [(place, line.text) for place, line in enumerate(lines) if line.text]
    axis.set_xticks([])
    axis.set_yticks([place * pitch + (pitch - GAP) / 2 for place, _ in named], [text for _, text in named])
    axis.tick_params(length=0, pad=2)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def _values(made: Made, lines: list[Line], said: np.ndarray) -> list[dict[str, object]]:
    """Where each image comes from: its place in the file, and its class; of a way between images, its step."""
    word = "step" if made.file == STRIP else "class"
    return [
        {
            "block": made.title,
            "run": made.run,
            "output": made.output,
            "line": number,
            "column": column,
            "file": made.file,
            "place": place,
            word: int(said[place]),
            "key": made.job.id,
        }
        for number, line in enumerate(lines)
        for column, place in enumerate(line.places)
    ]
