"""A page of claims as a product: every comparison measured, for every seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import sha256_of
from mimflow.plan.build import Measurement
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.claims.spec import ClaimsSpec
from mimflow.project.claim import ClaimSpec, Comparison
from mimflow.project.kinds import PaperItem

TEMPLATE = Path(__file__).resolve().parent / "claims.md.j2"
SECTION = TEMPLATE.with_name("section.html.j2")


@dataclass(frozen=True)
class PlannedComparison:
    """A comparison with the measurements of both sides, in pairs of one seed."""

    spec: Comparison
    pairs: tuple[tuple[Measurement, Measurement], ...]


@dataclass(frozen=True)
class PlannedClaim:
    """A claim with what decides it, and its controls."""

    name: str
    spec: ClaimSpec
    comparison: PlannedComparison | None
    controls: tuple[PlannedComparison, ...]


class ClaimsProduct(Product):
    """Claims with everything that their verdicts follow from."""

    spec: ClaimsSpec

    @cached_property
    def claims(self) -> tuple[PlannedClaim, ...]:
        """The claims, planned."""
        workspace = self.plan.workspace
        names = self.spec.claims or sorted(loaded.name for loaded in workspace.sound("claim"))
        return tuple(self._claim(name, workspace.get("claim", name).spec) for name in names)

    def _claim(self, name: str, claim: ClaimSpec) -> PlannedClaim:
        comparison = self._comparison(claim.comparison, claim) if claim.comparison is not None else None
        return PlannedClaim(name, claim, comparison, tuple(self._comparison(each, claim) for each in claim.controls))

    def _comparison(self, comparison: Comparison, claim: ClaimSpec) -> PlannedComparison:
        pairs = [
            tuple(
                self.plan.measure(side.run, side.output, comparison.protocol, seed)
                for side in (comparison.claimed, comparison.against)
            )
            for seed in self.spec.seeds or claim.seeds
        ]
        return PlannedComparison(comparison, tuple(pairs))  # type: ignore[arg-type]

    @property
    def papers(self) -> tuple[PaperItem, ...]:
        """Those of its claims, besides its own."""
        return (*super().papers, *(claim.spec.paper for claim in self.claims if claim.spec.paper is not None))

    def _measurements(self) -> Iterator[tuple[str, Measurement]]:
        for claim in self.claims:
            for compared in (*([claim.comparison] if claim.comparison else []), *claim.controls):
                for pair in compared.pairs:
                    yield from ((compared.spec.protocol, each) for each in pair)

    def jobs(self) -> Mapping[str, Job]:
        """The evaluations of both sides of every comparison."""
        named = ((f"{each.run}.s{each.seed}.{each.output}.{protocol}", each) for protocol, each in self._measurements())
        return {name: each.evaluate for name, each in named}

    def identity(self) -> dict[str, Any]:
        """What each claim says, the verdict that is committed, and the templates."""
        claims = {claim.name: claim.spec.identity() | {"verdict": claim.spec.verdict} for claim in self.claims}
        return {"claims": claims, "templates": {path.name: sha256_of(path) for path in (TEMPLATE, SECTION)}}

    def render(self, partial: bool) -> dict[str, bytes]:
        """Markdown and CSV."""
        from mimflow.products.claims.render import render_claims

        return render_claims(self)

    def section(self) -> str:
        """The verdicts, and behind each what was compared and where its numbers come from."""
        from mimflow.products.claims.section import claims_section

        return claims_section(self)
