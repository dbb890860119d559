"""The file of an evaluation's numbers: what it holds, and what is not one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from artifacts import store_artifact

from mimflow.artifacts.metrics import METRICS, MetricValue, read_metrics, write_metrics
from mimflow.errors import ArtifactError

VALUES = {"fid": MetricValue(12.5), "kid": MetricValue(0.25, std=0.125), "is": MetricValue(None, reason="3 samples")}


def test_a_file_holds_value_spread_and_reason_of_each_metric_and_the_count(tmp_path: Path) -> None:
    write_metrics(tmp_path, VALUES, 200)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == {
        "fid": {"value": 12.5, "std": None, "reason": None},
        "kid": {"value": 0.25, "std": 0.125, "reason": None},
        "is": {"value": None, "std": None, "reason": "3 samples"},
        "count": 200,
    }


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_metrics(tmp_path, VALUES, 200)
    assert read_metrics(store_artifact(tmp_path, stage="evaluate", name="tiny")) == (VALUES, 200)


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_metrics(tmp_path, {"fid": MetricValue(float("nan"))}, 200)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"count": 1, "fid": 3}', '{"count": 1, "fid": {"mean": 3}}'])
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / METRICS).write_text(text, encoding="utf-8")
    artifact = store_artifact(tmp_path, stage="evaluate", name="tiny")
    with pytest.raises(ArtifactError, match=r"metrics\.json: not metrics: .* \(delete .* and run again\)"):
        read_metrics(artifact)
