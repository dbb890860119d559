"""The words of tables: numbers as they are printed, headings, settings of a part in a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mimflow.outputs.spec import OutputSpec, Subject
from mimflow.spec.base import Spec

NOTHING = "—"
WITHOUT_GUIDANCE = "Without guidance"
WITH_GUIDANCE = "With guidance"

_METRICS = {
    "fid": "FID",
    "is": "IS",
    "kid": "KID",
    "psnr": "PSNR",
    "psnr_pooled": "PSNR, pooled",
    "ssim": "SSIM",
    "probe_last": "Probe, last epoch",
    "probe_best": "Probe, best epoch",
}
_OF_RECONSTRUCTIONS = {"fid": "rFID", "is": "rIS", "kid": "rKID"}
_HEADINGS: dict[Subject, str] = {"reconstructions": "Reconstruction", "representation": "Representation"}
_NAMED_WITH_COUNT = frozenset({"fid"})
"""Metrics that the literature names with the number of samples they are computed from."""


def metric_label(metric: str, subject: Subject = "samples") -> str:
    """`FID`, `Class accuracy`; of reconstructions `rFID`."""
    if subject == "reconstructions" and metric in _OF_RECONSTRUCTIONS:
        return _OF_RECONSTRUCTIONS[metric]
    return _METRICS.get(metric, metric.replace("_", " ").capitalize())


def with_count(label: str, metric: str, count: int | None) -> str:
    """`FID-2k` of 2,000 samples; metrics that are not named so, or a number not known, stay as they are."""
    return f"{label}-{short_count(count)}" if metric in _NAMED_WITH_COUNT and count is not None else label


def short_count(count: int) -> str:
    """128, 1.5k, 2k, 50k."""
    return str(count) if count < 1000 else f"{count / 1000:.10g}k"


def decimals(value: float, digits: int) -> str:
    """A number with so many digits after the point, a proper minus sign, and no negative zero."""
    return f"{value:z.{digits}f}".replace("-", "−")


def parameter_count(count: int) -> str:
    """466.3M, 12.3k; none where nothing is trained by gradients."""
    if count == 0:
        return NOTHING
    if count < 1000:
        return str(count)
    for unit, size in (("k", 10**3), ("M", 10**6)):
        if round(count / size, 1) < 1000:
            return f"{count / size:.1f}{unit}"
    return f"{count / 10**9:.1f}B"


def settings(spec: Spec, every: bool = False) -> str:
    """A part in a line: its kind and the fields that are not their defaults, or every field."""
    fields = type(spec).model_fields
    values = {name: getattr(spec, name) for name in fields if name != "kind"}
    shown = [
        _field(name, value)
        for name, value in values.items()
        if every or value != fields[name].get_default(call_default_factory=True)
    ]
    kind = getattr(spec, "kind", None)
    return ", ".join(([kind] if kind is not None else []) + shown)


def _field(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if value is None:
        return f"no {words}"
    if isinstance(value, Spec):
        return f"{words} ({settings(value)})"
    return f"{words} {plain(value)}"


def plain(value: Any) -> str:
    """A number, a text or a list of a spec, as a person would write it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " ".join(plain(item) for item in value)
    if isinstance(value, Spec):
        return f"({settings(value)})"
    return json.dumps(value) if isinstance(value, dict) else str(value)


def guidance(output: OutputSpec) -> Spec | None:
    """The guidance of a output; None where there is none, or none in effect."""
    found: Spec | None = getattr(output, "guidance", None)
    return None if found is None or getattr(found, "weight", None) == 0 else found


def output_heading(name: str, outputs: Iterable[OutputSpec]) -> str:
    """`Without guidance`, `With guidance (linear, weight 3)`; the output's name if some rows are and some not.

    Rows that are guided differently leave the settings to the lines under the table. What needs no prior is called
    `Reconstruction` or `Representation`.
    """
    outputs = list(outputs)
    if outputs and outputs[0].subject in _HEADINGS:
        return _HEADINGS[outputs[0].subject]
    found = [guidance(output) for output in outputs]
    if all(spec is None for spec in found):
        return WITHOUT_GUIDANCE
    texts = {settings(spec) for spec in found if spec is not None}
    if any(spec is None for spec in found):
        return name
    return f"{WITH_GUIDANCE} ({texts.pop()})" if len(texts) == 1 else WITH_GUIDANCE


def distinct(headings: Mapping[str, str]) -> dict[str, str]:
    """Headings by output, with the output's name where two are the same."""
    texts = list(headings.values())
    return {name: text if texts.count(text) == 1 else f"{text}, {name}" for name, text in headings.items()}


def sampling(output: OutputSpec) -> str:
    """How a output draws, in a line: `inverse, denoise (score, std 0.3); averaged weights`."""
    weights = "averaged weights" if output.ema else "weights of the last step"
    # Without its default, `ema` would be printed twice.
    return f"{settings(output.model_copy(update={'ema': True}))}; {weights}"


def by_row(texts: Mapping[str, str]) -> str:
    """One text if all rows agree; otherwise each with its row's label."""
    distinct = set(texts.values())
    if len(distinct) == 1:
        return distinct.pop()
    return "; ".join(f"{label}: {text}" for label, text in texts.items())


def listed(names: list[str], most: int = 5) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
