"""The page of metrics: what each is, by its spec and the function that computes it, without importing that."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mimflow.features.spec import LAYERS
from mimflow.metrics.number import Number
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec
from mimflow.project.schemas import field_docs

INTRODUCTION = """# Metrics

What a protocol can list under `metrics:`, in the order of the registry. `mimflow metrics` writes this page. A metric \
measures outputs whose content it names, and gives a reason where it has no value: too few images, features that are \
not finite. Features, logits and spatial features are those of the protocol's `extractor`; a number stands for nothing \
without it. Numbers of images do not depend on the images' order or on the size of batches, but for rounding.
"""


def metrics_page() -> str:
    """The page, as Markdown."""
    specs: list[type[MetricSpec]] = [METRICS.spec(kind) for kind in METRICS]  # type: ignore[misc]
    lines = [INTRODUCTION, *_table(("Number", "Better", "Unit", "Of", "Metric"), _overview(specs))]
    for spec in specs:
        lines += ["", f"## {_kind(spec)}", "", *_section(spec)]
    return "\n".join(lines) + "\n"


def _overview(specs: list[type[MetricSpec]]) -> Iterator[tuple[str, ...]]:
    for spec in specs:
        link = f"[`{_kind(spec)}`](#{_kind(spec)})"
        for number in spec.numbers:
            yield number.label, number.direction or "neither", number.unit, ", ".join(spec.measures), link


def _section(spec: type[MetricSpec]) -> Iterator[str]:
    """Definition, what is computed, source, numbers and fields of one metric."""
    yield from (_paragraphs(inspect.getdoc(spec) or ""), "", f"Computed: {_paragraphs(_computed(spec))}", "")
    yield f"- Source: {spec.source}"
    yield f"- Measures: {', '.join(spec.measures)}"
    if spec.layer is not None:
        yield f"- Looks at: the extractor's {LAYERS[spec.layer]}"
    yield ""
    yield from _table(("Number", "Called", "Better", "Unit", "Digits", "What it is"), map(_number, spec.numbers))
    fields = [*_fields(spec)]
    if fields:
        yield ""
        yield from _table(("Field", "Default", "Meaning"), fields)


def _number(number: Number) -> tuple[str, ...]:
    called = [number.label, *(f"{label} of {content}" for content, label in number.called.items())]
    direction = number.direction or "neither"
    return f"`{number.name}`", ", ".join(called), direction, number.unit, str(number.digits), number.sentence


def _fields(spec: type[MetricSpec]) -> Iterator[tuple[str, ...]]:
    docs = {name: text for base in reversed(spec.__mro__) for name, text in field_docs(base)}
    for name, field in spec.model_fields.items():
        if name != "kind":
            default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
            yield f"`{name}`", default, _paragraphs(docs.get(name, ""))


def _kind(spec: type[MetricSpec]) -> str:
    kind: str = spec.model_fields["kind"].default
    return kind


def _computed(spec: type[MetricSpec]) -> str:
    """The docstring of the function that computes it, from its source."""
    module, _, name = METRICS.builder(_kind(spec)).partition(":")
    found = find_spec(module)
    assert found is not None and found.origin is not None
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return ast.get_docstring(function) or ""


def _paragraphs(docstring: str) -> str:
    """The same words, a paragraph a line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> Iterator[str]:
    for row in (header, ("---",) * len(header), *rows):
        cells = " | ".join(cell.replace("|", r"\|") for cell in row)
        yield f"| {cells} |"
