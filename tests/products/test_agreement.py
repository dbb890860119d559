"""Which numbers agree, and when every bit is asked for. Expectations are worked out by hand."""

from __future__ import annotations

import pytest

from mimflow.artifacts.metrics import MetricValue
from mimflow.products.agreement import Number, changes_of_machine, computes_alike, number_table, numbers

MADE = {"processor": "AMD EPYC", "gpu": None, "python": "3.11.9", "packages": {"mimflow": "0.1.0", "torch": "2.6.0"}}


@pytest.mark.parametrize(
    ("recorded", "again", "tolerance", "verdict"),
    [
        (10.0, 10.0, 0.0, "equal"),
        (0.1 + 0.2, 0.3, 0.0, "different"),  # the last bit
        (10.0, 10.1, 0.01, "within"),
        (-10.0, -10.1, 0.01, "within"),
        (10.0, 10.11, 0.01, "different"),
        (0.0, 1e-9, 0.01, "different"),  # a share of nothing is nothing
        (None, None, 0.0, "equal"),
        (None, 1.0, 0.5, "different"),
    ],
)
def test_verdicts(recorded: float | None, again: float | None, tolerance: float, verdict: str) -> None:
    assert Number("a fid", recorded, again).verdict(tolerance) == verdict


def test_numbers_of_either_side_stand_in_the_table() -> None:
    found = numbers(
        "a.s0.guided.small",
        {"fid": MetricValue(12.5), "is": MetricValue(2.0)},
        {"fid": MetricValue(12.75), "kid": MetricValue(None, reason="too few")},
    )
    assert number_table(found, 0.05).splitlines() == [
        "number                 recorded  made again  difference  verdict",
        "a.s0.guided.small fid      12.5       12.75       +0.25  within",
        "a.s0.guided.small is          2           —           —  different",
        "a.s0.guided.small kid         —           —           —  equal",
    ]


def test_equal_bits_are_asked_for_on_the_same_processor_with_the_same_packages() -> None:
    assert changes_of_machine([MADE, MADE], [MADE]) == []
    python = changes_of_machine([MADE], [MADE | {"python": "3.12.1"}])
    assert python == [("python", "3.11.9", "3.12.1")] and computes_alike(python)
    other = changes_of_machine(
        [MADE, MADE | {"processor": "Xeon"}], [MADE | {"gpu": "H100", "packages": {"torch": "2.7.0"}}]
    )
    assert other == [
        ("processor", "AMD EPYC and Xeon", "AMD EPYC"),
        ("GPU", "none", "H100"),
        ("mimflow", "0.1.0", "none"),
        ("torch", "2.6.0", "2.7.0"),
    ]
    assert not computes_alike(other)
