"""The kinds of drawing there are, one line each."""

from __future__ import annotations

from mimflow.products.figure.drawing import (
    BarsDrawing,
    CurveDrawing,
    GridDrawing,
    PythonDrawing,
    SnapshotsDrawing,
    SpectrumDrawing,
    StripDrawing,
    TradeoffDrawing,
    TrainingDrawing,
)
from mimflow.spec.registry import Registry

DRAWINGS = Registry(
    "drawing",
    (CurveDrawing, "mimflow.products.figure.lines:Curves"),
    (TradeoffDrawing, "mimflow.products.figure.lines:Tradeoff"),
    (SnapshotsDrawing, "mimflow.products.figure.lines:Snapshots"),
    (BarsDrawing, "mimflow.products.figure.bars:Bars"),
    (TrainingDrawing, "mimflow.products.figure.training:Training"),
    (SpectrumDrawing, "mimflow.products.figure.spectrum:Spectrum"),
    (GridDrawing, "mimflow.products.figure.images:Grid"),
    (StripDrawing, "mimflow.products.figure.images:Strip"),
    (PythonDrawing, "mimflow.products.figure.python:Python"),
)
