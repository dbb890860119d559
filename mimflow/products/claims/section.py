"""What a report shows of a page of claims: the verdicts, and behind each what it follows from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mimflow.products.claims.product import SECTION, ClaimsProduct, PlannedComparison
from mimflow.products.claims.render import judged_claims
from mimflow.products.claims.verdict import RULE
from mimflow.products.table.results import read_result
from mimflow.products.templates import own_template
from mimflow.products.trace import Line, measurement_lines, text_of
from mimflow.project.claim import Comparison


@dataclass(frozen=True)
class Compared:
    """A comparison with the numbers of both sides."""

    spec: Comparison
    control: bool
    seeds: tuple[tuple[int, str, str], ...]
    """Of each seed what was measured of the claimed side, and of the other."""
    trace: str
    """The jobs of both sides."""


def claims_section(product: ClaimsProduct) -> str:
    """The section as HTML. ArtifactError for corrupt results."""
    claims = [(judged, list(_compared(product, judged.planned.name))) for judged in judged_claims(product)]
    return own_template(SECTION).render(page=product, claims=claims, rule=RULE)


def _compared(product: ClaimsProduct, name: str) -> Iterator[Compared]:
    """What decides a claim, and its controls."""
    claim = next(each for each in product.claims if each.name == name)
    if claim.comparison is not None:
        yield _of(product, claim.comparison, control=False)
    yield from (_of(product, control, control=True) for control in claim.controls)


def _of(product: ClaimsProduct, comparison: PlannedComparison, control: bool) -> Compared:
    root, metric, seeds, lines = product.root, comparison.spec.metric, [], list[Line]()
    for pair in comparison.pairs:
        texts = []
        for side, each in zip(("claimed", "against"), pair, strict=True):
            result = read_result(each.evaluate, root)
            value = None if result is None else result.values[metric]
            number = None if value is None else value.value
            texts.append(f"{number:.6g}" if number is not None else f"— ({value.reason if value else 'not measured'})")
            lines += [(0, f"{side}, {each.run}, seed {each.seed}"), *measurement_lines(each, root, 1)]
        seeds.append((pair[0].seed, texts[0], texts[1]))
    return Compared(comparison.spec, control, tuple(seeds), text_of(iter(lines)))
