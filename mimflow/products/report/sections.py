"""What a report shows of each product: what the product says itself, or else the picture among its files."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from mimflow.plan.product import Product
from mimflow.products.trace import product_lines, text_of

PICTURES = {"svg": "image/svg+xml", "png": "image/png"}
"""The endings of pictures, the one that is preferred first, and what they are."""
ROWS = 200
"""Rows of a file of values that stand in a report, at most."""


@dataclass(frozen=True)
class Section:
    """A product in a report."""

    product: Product
    body: Markup


def sections(products: tuple[Product, ...]) -> Iterator[tuple[str, list[Section]]]:
    """The sections of products under the words for their kinds, in the order of the products."""
    kinds = dict.fromkeys(product.kind.name for product in products)
    for kind in kinds:
        title = kind.capitalize() + ("" if kind.endswith("s") else "s")
        yield title, [Section(product, _body(product)) for product in products if product.kind.name == kind]


def _body(product: Product) -> Markup:
    own = product.section()
    return Markup(own) if own is not None else Markup("\n").join(_of_files(product))


def _of_files(product: Product) -> Iterator[Markup]:
    """The pictures of the ending that is preferred, the values of CSV files, and the jobs behind them."""
    files = product.render(True)
    ending = next((ending for ending in PICTURES if any(name.endswith(f".{ending}") for name in files)), None)
    for name, data in files.items():
        if ending is not None and name.endswith(f".{ending}"):
            text = base64.b64encode(data).decode()
            image = '<figure><img src="data:{};base64,{}" alt="{}: {}"></figure>'
            yield Markup(image).format(PICTURES[ending], text, product.kind.name.capitalize(), product.spec.title)
    yield from _values(product, files)
    trace = Markup("<pre>{}</pre>").format(text_of(product_lines(product)))
    yield Markup("<details>\n<summary>Where it comes from</summary>\n{}\n</details>").format(trace)


def _values(product: Product, files: Mapping[str, bytes]) -> Iterator[Markup]:
    for name, data in files.items():
        if not name.endswith(".csv"):
            continue
        head, *rows = list(csv.reader(io.StringIO(data.decode()))) or [[]]
        if rows:
            yield _table(f"The values of {product.spec.title}", head, rows)


def _table(caption: str, head: list[str], rows: list[list[str]]) -> Markup:
    """Rows as a table that opens; of many the first ones."""
    more = f", the first {ROWS} of {len(rows)}" if len(rows) > ROWS else ""
    heads = Markup("").join(Markup('<th scope="col">{}</th>').format(text) for text in head)
    lines = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(text) for text in row))
        for row in rows[:ROWS]
    )
    return Markup(
        "<details>\n<summary>Values</summary>\n"
        '<div class="wide" role="region" aria-label="{0}" tabindex="0">\n<table>\n<caption>{0}{1}</caption>\n'
        "<thead>\n<tr>{2}</tr>\n</thead>\n<tbody>\n{3}\n</tbody>\n</table>\n</div>\n</details>"
    ).format(caption, more, heads, lines)
