"""Times and sizes as a person reads them."""

from __future__ import annotations

from mimflow.progress import duration

YEAR = 365.25 * 86_400
_AGES = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def age(seconds: float) -> str:
    """`40 s`, `12 min`, `5 h`, `3 days`: in the largest unit of which there are two."""
    for unit, name in _AGES:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: float) -> str:
    """`3.2 MB`: bytes in the largest unit of which there is one."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} B"


def span(seconds: float) -> str:
    """`40:00`, `1:10:00`, `12 days`, `30 years`: how long something takes."""
    if seconds < 2 * 86_400:
        return duration(seconds)
    return f"{seconds / 86_400:.0f} days" if seconds < 2 * YEAR else f"{seconds / YEAR:.0f} years"
