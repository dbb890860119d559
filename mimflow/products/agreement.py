"""Recorded numbers beside numbers that were made again: which agree, and whether they had to in every bit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mimflow.artifacts.metrics import MetricValue
from mimflow.artifacts.provenance import COMPUTING

Verdict = Literal["equal", "within", "different"]
NOTHING = "—"


@dataclass(frozen=True)
class Number:
    """A number of an evaluation, as it was recorded and as it was made again; None where there is none."""

    name: str
    """`tarflow.s0.guided.mnist5k-2k fid`."""
    recorded: float | None
    again: float | None

    @property
    def difference(self) -> float | None:
        """Made again less recorded."""
        return None if self.recorded is None or self.again is None else self.again - self.recorded

    def verdict(self, tolerance: float) -> Verdict:
        """`within` the tolerance, a share of what was recorded, if it is not equal to the last bit."""
        if self.recorded == self.again:
            return "equal"
        if self.recorded is None or self.again is None:
            return "different"
        close = math.isclose(self.recorded, self.again, rel_tol=0, abs_tol=tolerance * abs(self.recorded))
        return "within" if close else "different"


def numbers(name: str, recorded: Mapping[str, MetricValue], again: Mapping[str, MetricValue]) -> list[Number]:
    """The numbers of an evaluation by metric, those of either side."""
    nothing = MetricValue(None)
    return [
        Number(f"{name} {metric}", recorded.get(metric, nothing).value, again.get(metric, nothing).value)
        for metric in [*recorded, *(metric for metric in again if metric not in recorded)]
    ]


def number_table(found: Sequence[Number], tolerance: float) -> str:
    """Number, recorded, made again, difference and verdict: a line a number."""
    lines = [("number", "recorded", "made again", "difference", "verdict")]
    lines += [
        (
            number.name,
            _shown(number.recorded, ".9g"),
            _shown(number.again, ".9g"),
            _shown(number.difference, "+.2g") if number.difference else "0" if number.difference == 0 else NOTHING,
            number.verdict(tolerance),
        )
        for number in found
    ]
    return "\n".join(aligned(lines))


def _shown(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells in columns: the first and the last to the left, the others to the right."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        cells = [
            cell.ljust(width) if place in (0, len(line) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


Change = tuple[str, Any, Any]
"""What computed: its name, then and now."""


def changes_of_machine(then: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> list[Change]:
    """In what the machines and the packages that numbers follow from differ, of what manifests say they were made by.

    Of several the values are joined: a table may have been made on two processors.
    """
    olds, news = [_of_made(made) for made in then], [_of_made(made) for made in now]
    names = list(dict.fromkeys(name for made in (*olds, *news) for name in made))
    pairs = [
        (name, _joined(made.get(name) for made in olds), _joined(made.get(name) for made in news)) for name in names
    ]
    return [(name, old, new) for name, old, new in pairs if old != new]


def _of_made(made: Mapping[str, Any]) -> dict[str, Any]:
    packages = made.get("packages", {})
    return {
        "processor": made.get("processor"),
        "GPU": made.get("gpu"),
        "python": made.get("python"),
        **{name: packages[name] for name in ("mimflow", *COMPUTING) if name in packages},
    }


def _joined(values: Iterable[Any]) -> str:
    return " and ".join(sorted({str(value) for value in values if value is not None})) or "none"


def computes_alike(changes: Iterable[Change]) -> bool:
    """Whether equal bits can be asked for: the same processor, GPU and computing packages."""
    return not {name for name, _, _ in changes} - {"python", "mimflow"}
