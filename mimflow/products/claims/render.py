"""The files of a page of claims, and the verdicts as they come out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass

from mimflow.errors import PlanError
from mimflow.metrics.number import Number
from mimflow.plan import paths
from mimflow.products.claims.product import TEMPLATE, ClaimsProduct, PlannedClaim, PlannedComparison
from mimflow.products.claims.verdict import RULE, Finding, judge, judge_same
from mimflow.products.table.layout import markdown
from mimflow.products.table.results import read_result
from mimflow.products.table.wording import decimals
from mimflow.products.templates import own_template
from mimflow.project.claim import ClaimedDirection, Comparison, Verdict

_CSV_COLUMNS = ("claim", "verdict", "committed", "n", "mean", "low", "high", "smallest_effect", "metric", "protocol")


@dataclass(frozen=True)
class Judged:
    """A claim with what came out."""

    planned: PlannedClaim
    verdict: Verdict
    finding: Finding | None
    controls: tuple[tuple[Comparison, Finding], ...]
    result: str
    """In words: the mean difference, its interval, n, and what would decide."""


def judged_claims(product: ClaimsProduct) -> list[Judged]:
    """Every claim's verdict from the numbers that are in the store. ArtifactError if one is corrupt."""
    return [_judged(product, claim) for claim in product.claims]


def _judged(product: ClaimsProduct, claim: PlannedClaim) -> Judged:
    if claim.comparison is None:
        return Judged(claim, "not testable", None, (), claim.spec.not_testable or "")
    asked, finding = claim.comparison.spec, _finding(product, claim.comparison)
    controls = tuple((each.spec, _finding(product, each)) for each in claim.controls)
    failed = [spec for spec, found in controls if found.verdict != "supported"]
    verdict: Verdict = "undecided" if failed and finding.verdict == "supported" else finding.verdict
    number = product.plan.workspace.protocols[asked.protocol].spec.numbers[asked.metric]
    words = in_words(finding, number, asked.direction, bool(failed))
    return Judged(claim, verdict, finding, controls, words)


def _finding(product: ClaimsProduct, comparison: PlannedComparison) -> Finding:
    sign = -1 if comparison.spec.direction == "lower" else 1
    differences = []
    for pair in comparison.pairs:
        found = [read_result(each.evaluate, product.root) for each in pair]
        values = [None if result is None else result.values[comparison.spec.metric].value for result in found]
        if values[0] is not None and values[1] is not None:
            differences.append(sign * (values[0] - values[1]))
    rule = judge_same if comparison.spec.direction == "same" else judge
    return rule(differences, comparison.spec.smallest_effect)


def in_words(finding: Finding, number: Number, direction: ClaimedDirection, failed: bool) -> str:
    """What was found of a number that is claimed to have a direction; `failed`: a control does not hold."""
    if finding.mean is None:
        return "nothing is measured yet"
    texts = [f"{_named(number)} {_than(finding.mean, direction, number)}"]
    if finding.interval is not None:
        # In the direction that the mean has: `higher by 2.1, interval 1.5 to 2.7`.
        low, high = finding.interval if finding.mean >= 0 else (-end for end in reversed(finding.interval))
        texts.append(f"interval {decimals(low, number.digits)} to {decimals(high, number.digits)}")
    texts.append(f"n = {finding.n}")
    if finding.n < 2:
        texts.append("which has no interval")
    elif failed:
        texts.append("a control does not hold")
    elif finding.verdict == "undecided":
        more = f"{finding.needed} seeds" if finding.needed else "a larger effect"
        texts.append(f"{more} would decide if mean and spread stayed")
    return ", ".join(texts)


def _named(number: Number) -> str:
    return f"{number.label} ({number.unit})" if number.unit else number.label


def _than(mean: float, direction: ClaimedDirection, number: Number) -> str:
    """`lower by 3.2`: what the claimed side is, whatever the claim says of it."""
    higher = (mean >= 0) != (direction == "lower")
    return f"{'higher' if higher else 'lower'} by {abs(mean):.{number.digits}f}"


def describe_claims(product: ClaimsProduct, strict: bool) -> str:
    """A line for each claim: its verdict, its name and the result.

    PlanError, if `strict`, that names the claims whose verdict is not the committed one.
    """
    claims = judged_claims(product)
    width = max((len(each.planned.name) for each in claims), default=0)
    lines = [f"{each.verdict:12}  {each.planned.name:{width}}  {each.result}" for each in claims]
    changed = [each for each in claims if each.verdict != each.planned.spec.verdict]
    if strict and changed:
        raise PlanError("\n".join(map(_change, changed)))
    return "\n".join(lines)


def _change(claim: Judged) -> str:
    committed = claim.planned.spec.verdict or "no verdict"
    return f"{claim.planned.name}: {claim.verdict}, committed is {committed} ({claim.result})"


def render_claims(product: ClaimsProduct) -> dict[str, bytes]:
    """The contents of the files by path. ArtifactError for corrupt results."""
    claims = judged_claims(product)
    counts = Counter(each.verdict for each in claims)
    text = own_template(TEMPLATE, {"md": markdown}).render(page=product.spec, claims=claims, counts=counts, rule=RULE)
    return {
        paths.product_file(product.name, "md"): text.encode(),
        paths.product_file(product.name, "csv"): _csv(claims).encode(),
    }


def _csv(claims: list[Judged]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for each in claims:
        spec, found = each.planned.spec, each.finding
        low, high = found.interval if found is not None and found.interval is not None else (None, None)
        compared = spec.comparison
        writer.writerow(
            [
                each.planned.name,
                each.verdict,
                spec.verdict,
                found.n if found is not None else None,
                found.mean if found is not None else None,
                low,
                high,
                compared.smallest_effect if compared is not None else None,
                compared.metric if compared is not None else None,
                compared.protocol if compared is not None else None,
            ]
        )
    return stream.getvalue()
