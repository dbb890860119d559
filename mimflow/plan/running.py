"""What runs now: step, speed, time left, the last figures, and what is amiss; then what was begun and given up.

Read off the files of jobs at work alone, so that it can be asked for every second, whatever specs say by now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mimflow.plan.activity import Activity, activities
from mimflow.progress import duration

INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""
CLEAR = "\x1b[H\x1b[2J"
"""What terminals take for an empty screen."""


def describe_running(root: Path) -> str:
    """Every job that is at work or was given up, a few lines each."""
    found = list(activities(root))
    at_work = [each for each in found if each.holder]
    rest = [each for each in found if not each.holder]
    lines = [line for each in at_work for line in _at_work(each)]
    lines += [f"{each.name or each.job}: {each.words}" for each in rest]
    return "\n".join(lines) if at_work else "\n".join(["nothing runs", *lines])


def watch(root: Path, echo: Callable[[str], object], on_terminal: bool) -> None:
    """Show it again and again, until Ctrl-C; on a terminal in place of what was shown before."""
    while True:
        text = describe_running(root)
        echo((CLEAR if on_terminal else "") + f"{time.strftime('%H:%M:%S')}\n{text}")
        time.sleep(INTERVAL)


def _at_work(found: Activity) -> Iterator[str]:
    yield f"{found.name or found.job}: {found.place or 'has not begun to count'} ({found.holder})"
    speed = [_speed(found.per_second, found.unit)] if found.per_second else []
    if found.images_per_second and found.unit == "step":
        speed.append(f"{found.images_per_second:.3g} images/s")
    if found.seconds_left is not None:
        speed.append(f"{duration(found.seconds_left)} left")
    if speed:
        yield f"  {', '.join(speed)}"
    if found.figures:
        yield f"  last: {_figures(found.figures)}"
    if found.validation:
        at = f" at step {found.validated_at}" if found.validated_at else ""
        best = f" (least loss {found.best[0]:.4g} at step {found.best[1]})" if found.best is not None else ""
        yield f"  last validation: {_figures(found.validation)}{at}{best}"
    yield f"  health: {found.health}"


def _speed(per_second: float, unit: str) -> str:
    """So many a second, or the seconds that one takes where it takes more than one."""
    if per_second < 1:
        return f"{1 / per_second:.3g} s a {unit}"
    return f"{per_second:.3g} {unit}{'es' if unit == 'batch' else 's'}/s"


def _figures(figures: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {'not finite' if value is None else f'{value:.4g}'}" for name, value in figures.items())
