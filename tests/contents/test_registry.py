"""The registry of contents, and the names by which outputs and metrics refer to it."""

from __future__ import annotations

from importlib import import_module

import pytest

from mimflow.contents.registry import CONTENTS
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec
from mimflow.outputs.registry import OUTPUTS

MEASURES: list[type[MetricSpec]] = [METRICS.spec(kind) for kind in METRICS]


def test_outputs_hold_and_metrics_measure_the_contents_that_there_are() -> None:
    held = {OUTPUTS.spec(kind).content for kind in OUTPUTS}
    measured = {name for metric in MEASURES for name in metric.measures}
    others = {"latents", "interpolations", "bands", "likelihood"}
    assert held == measured == set(CONTENTS) == {"samples", "reconstructions", "representation"} | others


@pytest.mark.parametrize("name", CONTENTS)
def test_what_opens_a_content_is_there(name: str) -> None:
    module, _, function = CONTENTS[name].opener.partition(":")
    assert callable(getattr(import_module(module), function))


def test_a_number_is_called_otherwise_only_of_contents_that_its_metric_measures() -> None:
    for metric in MEASURES:
        for number in metric.numbers:
            assert set(number.called) <= set(metric.measures), number.name


def test_no_two_numbers_share_a_name_and_each_says_what_it_is() -> None:
    numbers = [number for metric in MEASURES for number in metric.numbers]
    assert len({number.name for number in numbers}) == len(numbers)
    assert all(number.label and number.sentence for number in numbers)
