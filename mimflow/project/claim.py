"""The spec of a claim: a sentence of a paper's that measured numbers can support or contradict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.project.kinds import PaperItem
from mimflow.spec.base import OUTSIDE_KEY, Name, NonNegative, Problem, Spec, repeated

ClaimedDirection = Literal["lower", "higher", "same"]
"""What a claimed side is said to be beside the other."""
Verdict = Literal["supported", "contrary", "undecided", "not testable"]
CONFIDENCE = 0.95


class Side(Spec):
    """What is compared: an output of a run."""

    run: Name
    output: Name


class Comparison(Spec):
    """Two runs, measured alike, and which of them a claim says is better in what."""

    protocol: Name
    metric: Name
    """A number that the protocol reports."""
    claimed: Side
    against: Side
    direction: ClaimedDirection
    """Whether the claimed side's number is the lower or the higher one; or the same, within what would matter."""
    smallest_effect: NonNegative
    """The smallest difference that would matter, in the metric's own unit, decided before a number was seen."""

    @property
    def words(self) -> str:
        """What is claimed: `lower, by at least 0.5`, or `the same, within 0.5`."""
        if self.direction == "same":
            return f"the same, within {self.smallest_effect}"
        return f"{self.direction}, by at least {self.smallest_effect}"

    def problems(self) -> Iterator[Problem]:
        if self.claimed == self.against:
            yield Problem(("against",), "both sides are the same output of the same run", "name the control")


class ClaimSource(Spec):
    """Where a claim stands."""

    paper: str
    where: str
    """Section, table or figure; of a review, which point of it."""


class ClaimSpec(Spec):
    """A claim, what would support it, and the verdict that is committed."""

    title: str
    """The claim as one sentence in our own words."""
    source: ClaimSource
    paper: Annotated[PaperItem | None, OUTSIDE_KEY] = None
    """The item of a paper that it is of, as products name theirs."""
    scale: str
    """At which scale it is tested here, in words: data set, sizes, minutes."""
    comparison: Comparison | None = None
    """What decides; not given for a claim that can't be tested here."""
    controls: list[Comparison] = []
    """What must hold as well for the comparison to mean what it says; one that does not leaves the claim undecided."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    """Seeds that are paired, whichever the runs have of their own."""
    tuned: str
    """What was tuned, on what and when, in words; `nothing` where nothing was."""
    not_testable: str | None = None
    """Why it can't be tested at this scale, and what it would take."""
    verdict: Annotated[Verdict | None, OUTSIDE_KEY] = None
    """The verdict that was committed: `mimflow claims --strict` fails where another comes out."""

    def problems(self) -> Iterator[Problem]:
        if (self.comparison is None) == (self.not_testable is None):
            yield Problem((), "gives both or neither of comparison and not_testable", "give one")
        yield from repeated("seeds", self.seeds, "seed")
