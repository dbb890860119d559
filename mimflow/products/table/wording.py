"""The words of tables: numbers as they are printed, headings, how an output is made in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimflow.metrics.number import Number
from mimflow.outputs.spec import OutputSpec
from mimflow.spec.words import settings

NOTHING = "—"


def fact(name: str) -> str:
    """`Prior parameters`."""
    return name.replace("_", " ").capitalize()


def heading(number: Number, label: str, count: int | None) -> str:
    """`FID-2k` of 2,000 images; a number that is not named so, or of images not counted yet, stays as it is."""
    return f"{label}-{short_count(count)}" if number.with_count and count is not None else label


def short_count(count: int) -> str:
    """128, 1.5k, 2k, 50k."""
    return str(count) if count < 1000 else f"{count / 1000:.10g}k"


def decimals(value: float, digits: int) -> str:
    """A number with so many digits after the point, a proper minus sign, and no negative zero."""
    return f"{value:z.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """A difference with its sign, `+1.4` or `−3.2`; `±0.0` where nothing is left of it."""
    text = decimals(value, digits)
    if float(f"{value:.{digits}f}") == 0:
        return f"±{text}"
    return text if value < 0 else f"+{text}"


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


def distinct(headings: Mapping[str, str], called: Mapping[str, str]) -> dict[str, str]:
    """Headings by output, with the output's name, or what it is `called` instead, where two are the same."""
    texts = list(headings.values())
    return {
        name: text if texts.count(text) == 1 else f"{text}, {called.get(name, name)}" for name, text in headings.items()
    }


def sampling(output: OutputSpec, given: bool = False) -> str:
    """How an output is made, in a line: `inverse, denoise (score, std 0.3); averaged weights`.

    Weights that were `given` are what they are.
    """
    weights = "averaged weights" if output.ema else "weights of the last step"
    if given:
        weights = "given weights"
    elif output.snapshot is not None and not output.ema:
        weights = "weights of the snapshot"
    # Without its default, `ema` would be printed twice.
    return f"{settings(output.model_copy(update={'ema': True}))}; {weights}"


def by_row(texts: Sequence[tuple[str, str]]) -> str:
    """One text if all rows agree; otherwise each behind the name of its row."""
    distinct = {text for _, text in texts}
    if len(distinct) == 1:
        return distinct.pop()
    return "; ".join(f"{row}: {text}" for row, text in texts)


def listed(names: list[str], most: int = 5) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
