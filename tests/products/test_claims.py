"""Claims: verdicts against scipy's own intervals, what is refused, and a page made of real results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from projects import command, copy_project, new_project
from scipy import stats

from mimflow.metrics.number import Number
from mimflow.products.claims.render import in_words
from mimflow.products.claims.verdict import Finding, judge, judge_same
from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.claim import ClaimedDirection

CLAIM = """\
title: Guidance lowers the FID
source: {paper: "A paper", where: section 1}
scale: digits
comparison:
  protocol: digits-200
  metric: fid
  claimed: {run: tarflow, output: guided}
  against: {run: tarflow, output: unguided}
  direction: lower
  smallest_effect: 0.5
tuned: nothing
"""


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_that_of_a_paired_t_test(seed: int) -> None:
    random = np.random.default_rng(seed)
    claimed, against = random.normal(1.0, 1.0, 6), random.normal(0.0, 1.0, 6)
    found = judge((claimed - against).tolist(), 0.0)
    expected = stats.ttest_rel(claimed, against).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("differences", "effect", "verdict"),
    [
        ([1.0, 1.1, 0.9], 0.5, "supported"),
        ([1.0, 1.1, 0.9], 2.0, "contrary"),  # there, but too small to matter
        ([-1.0, -1.1, -0.9], 0.0, "contrary"),
        ([1.0, -1.0, 0.5], 0.1, "undecided"),
        ([5.0], 0.1, "undecided"),
        ([], 0.1, "undecided"),
        ([0.4, 0.5, 0.6], 0.45, "supported"),
        ([0.1, 0.5, 0.9], 0.6, "undecided"),
    ],
)
def test_verdicts(differences: list[float], effect: float, verdict: str) -> None:
    assert judge(differences, effect).verdict == verdict


@pytest.mark.parametrize(
    ("differences", "margin", "verdict", "needed"),
    [
        ([0.1, -0.1, 0.0], 0.5, "supported", None),  # 0 ± 4.303 · 0.1 / √3 = ± 0.248
        ([0.1, -0.1, 0.0], 0.2, "undecided", 4),  # 3.182 · 0.1 / √4 = 0.159
        ([1.0, 1.1, 0.9], 0.5, "contrary", None),  # 1 ± 0.248
        ([-1.0, -1.1, -0.9], 0.5, "contrary", None),
        ([0.0, 0.0, 0.0], 0.0, "supported", None),
        ([0.1], 0.5, "undecided", None),
    ],
)
def test_verdicts_on_what_is_claimed_to_be_the_same(
    differences: list[float], margin: float, verdict: str, needed: int | None
) -> None:
    found = judge_same(differences, margin)
    assert (found.verdict, found.needed) == (verdict, needed)


def test_the_seeds_that_would_decide_do() -> None:
    found = judge([1.0, -0.4, 0.9, -0.2], 0.0)
    assert found.verdict == "undecided" and found.needed is not None
    mean, spread = 0.325, np.std([1.0, -0.4, 0.9, -0.2], ddof=1)
    for n, decides in ((found.needed, True), (found.needed - 1, False)):
        low = stats.t.interval(0.95, n - 1, loc=mean, scale=spread / np.sqrt(n))[0]
        assert bool(low > 0) is decides


def _project(root: Path, claim: str) -> Path:
    project = new_project(root / "project")
    for folder, name, text in (("claims", "guided", claim), ("reports", "claims", "title: Claims\n")):
        path = project / "specs" / folder / f"{name}.yaml"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
    return project


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("metric: fid", "metric: fie", "specs/claims/guided.yaml:6:11: comparison.metric: protocol 'digits-200' reports no 'fie'"),
        ("output: guided", "output: guide", "comparison.claimed.output: run 'tarflow' has no output 'guide' (did you mean 'guided'?)"),
        ("{run: tarflow, output: guided}", "{run: tarflo, output: guided}", "there is no run 'tarflo' (did you mean 'tarflow'?)"),
        ("output: unguided", "output: guided", "both sides are the same output of the same run (name the control)"),
        ("tuned: nothing", "tuned: nothing\nseeds: [1, 1]", "seeds: a seed twice: [1, 1] (each once)"),
        ("tuned: nothing", "tuned: nothing\nnot_testable: too large", "gives both or neither of comparison and not_testable"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, old: str, new: str, line: str) -> None:
    problems = open_workspace(_project(tmp_path, CLAIM.replace(old, new))).problems
    assert any(line in problem for problem in problems), problems


FID = Number("fid", "FID", "of samples", digits=1, direction="lower")


@pytest.mark.parametrize(
    ("direction", "mean", "interval", "words"),
    [
        ("lower", 2.0, (-1.0, 5.0), "FID lower by 2.0, interval −1.0 to 5.0, n = 3"),
        ("lower", -2.0, (-5.0, 1.0), "FID higher by 2.0, interval −1.0 to 5.0, n = 3"),
        ("higher", -2.0, (-3.5, -0.5), "FID lower by 2.0, interval 0.5 to 3.5, n = 3"),
        ("same", 0.01, (-0.01, 0.03), "FID higher by 0.0, interval 0.0 to 0.0, n = 3"),
    ],
)
def test_an_interval_is_told_in_the_direction_of_the_mean(
    direction: ClaimedDirection, mean: float, interval: tuple[float, float], words: str
) -> None:
    assert in_words(Finding("contrary", 3, mean, interval), FID, direction, failed=False) == words


def test_a_claim_brings_its_seeds_and_a_page_can_have_others(tmp_path: Path) -> None:
    project = _project(tmp_path, CLAIM)
    page = project / "specs/reports/few.yaml"
    page.write_text("title: One seed\nseeds: [4]\n", encoding="utf-8")
    plan = open_plan(project)
    (claims,) = plan.product("claims").claims
    assert [[each.seed for each in pair] for pair in claims.comparison.pairs] == [[0, 0], [1, 1], [2, 2]]
    (few,) = plan.product("few").claims
    assert [[each.seed for each in pair] for pair in few.comparison.pairs] == [[4, 4]]
    page.write_text("title: One seed\nseeds: [4, 4]\n", encoding="utf-8")
    assert any("few.yaml:2:8: seeds: a seed twice" in problem for problem in open_workspace(project).problems)


@pytest.mark.slow
def test_a_page_of_claims_is_made_and_a_verdict_that_changes_is_told(finished: Path, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    other = _project(tmp_path / "other", CLAIM + "seeds: [0]\nverdict: supported\n")
    for folder in ("claims", "reports"):
        (other / "specs" / folder).rename(project / "specs" / folder)
    command(project, "snakemake", "--cores", "1", "results/claims.md")
    text = (project / "results/claims.md").read_text(encoding="utf-8")
    assert "| Guidance lowers the FID | **undecided** | FID " in text and "n = 1" in text
    told = command(project, "mimflow", "claims", "--strict", check=False)
    assert told.returncode == 2
    assert told.stdout.startswith("guided: undecided, committed is supported (FID ")
