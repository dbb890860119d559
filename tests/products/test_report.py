"""The report: one valid file that needs no other, every number with its origin, what is missing and its cost."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree.ElementTree import Element

import html5lib
import pytest
from specs_project import write
from tables_project import TABLE, edit, make_project, plan_of

from mimflow.errors import PlanError
from mimflow.plan.freshness import render_reason
from mimflow.plan.product import Product
from mimflow.products.registry import open_workspace
from mimflow.products.render import render_product
from mimflow.products.report.sections import sections

HOSTILE = "_ & % < $ # <script>alert(1)</script>"
PAPER = f"""\
title: '{HOSTILE}'
source: Somebody, somewhere
items: [{{item: 'Table 6', what: numbers}}]
"""
CLAIM = f"""\
title: '{HOSTILE}'
source: {{paper: "A paper", where: section 1}}
paper: {{of: tarflow, item: 'Table 6', needs: 'Days of <8 GPUs>'}}
scale: digits
comparison:
  protocol: small
  metric: fid
  claimed: {{run: tarflow, output: guided}}
  against: {{run: tarflow, output: unguided}}
  direction: lower
  smallest_effect: 0.5
tuned: nothing
"""
ANOTHER = TABLE.replace("rows: [{run: gaussian}, {run: tarflow}]", "rows: [{run: tarflow}]\nseeds: [7]")
"""A table of a seed that has not been trained: its results are missing."""


def make(root: Path) -> None:
    make_project(root)
    edit(root, "tables/t", "protocol: small", "paper: {of: tarflow, item: Table 6, needs: Weeks}\nprotocol: small")
    write(root, "papers/tarflow", PAPER)
    write(root, "tables/another", ANOTHER)
    write(root, "claims/guided", CLAIM)
    write(root, "reports/claims", "title: Claims\n")
    write(root, "overviews/report", f"title: '{HOSTILE}'\nnotes: ['{HOSTILE}']\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    make(root)
    render_product(plan_of(root).product("report"))
    return root


@pytest.fixture(scope="module")
def document(project: Path) -> Element:
    """The report as a browser reads it; what is no valid HTML is an error."""
    text = (project / "results/report.html").read_text(encoding="utf-8")
    parsed: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    return parsed


def text_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def with_id(document: Element, name: str) -> Element:
    (found,) = [element for element in document.iter() if element.get("id") == name]
    return found


def test_it_needs_nothing_from_elsewhere(project: Path, document: Element) -> None:
    assert document.findall(".//script") == document.findall(".//link") == document.findall(".//iframe") == []
    assert all(image.get("src", "").startswith("data:image/") for image in document.iter("img"))
    assert "url(" not in (project / "results/report.html").read_text(encoding="utf-8")


def test_what_it_links_to_is_there_once(document: Element) -> None:
    ids = [name for element in document.iter() if (name := element.get("id"))]
    assert len(set(ids)) == len(ids)
    links = [element.get("href", "") for element in document.iter("a")]
    opened = [f"#{name}" for element in document.iter("button") if (name := element.get("popovertarget"))]
    assert links and opened and {*links, *opened} <= {f"#{name}" for name in ids}


def test_it_has_what_a_screen_reader_and_a_keyboard_need(document: Element) -> None:
    assert document.get("lang") == "en"
    first = next(document.find("body").iter("a"))  # type: ignore[union-attr]
    assert first.get("href") == "#Main" and with_id(document, "Main").tag == "main"
    assert document.find(".//nav").get("aria-label") == "Contents"  # type: ignore[union-attr]
    assert all(table.find("caption") is not None for table in document.iter("table"))
    assert all(head.get("scope") for head in document.iter("th"))
    assert all(image.get("alt") for image in document.iter("img"))
    named = [element for element in document.iter() if element.get("role") in ("region", "dialog")]
    assert named and all(element.get("aria-label") for element in named)
    levels = [int(element.tag[1]) for element in document.iter() if re.fullmatch("h[1-6]", str(element.tag))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_a_number_opens_where_it_comes_from(project: Path, document: Element) -> None:
    """FID of three seeds, hand-made: 20, 22, 24; the jobs that the plan has for it, and the commit in their manifests."""
    buttons = [button for button in document.iter("button") if text_of(button).startswith("22.0 ± 2.0")]
    (target,) = {button.get("popovertarget", "") for button in buttons}
    origin = with_id(document, target)
    assert origin.get("popover") is not None
    rows = [[text_of(cell) for cell in row] for row in origin.iter("tr")]
    assert [row[:2] for row in rows] == [["Seed", "FID-1.5k"], ["0", "20"], ["1", "22"], ["2", "24"]]
    plan, text = plan_of(project), text_of(origin)
    for seed in range(3):
        measured = plan.measure("tarflow", "unguided", "small", seed)
        assert measured.infer is not None
        for job in (measured.evaluate, measured.infer, *plan.trained("tarflow", seed)):
            assert job.folder in text
    assert "Run tarflow Output unguided Protocol small" in text
    assert "commit 0123456789ab (clean), mimflow 0.1.0, torch 2.6.0" in text and "ema.safetensors, SHA-256" in text


def test_without_a_list_it_shows_what_is_there_and_says_what_the_rest_costs(project: Path, document: Element) -> None:
    report = plan_of(project).product("report")
    assert all(job.done(project) for job in report.jobs().values())
    assert [text_of(head) for head in document.iter("h3")][:2] == ["Digits & 100 % of #1", "Claims"]
    (row,) = [[text_of(cell) for cell in row] for row in document.iter("tr") if "another.md" in text_of(row)]
    # Of one seed: its last training, two outputs, their evaluations; besides the extractor, which is there.
    assert row[1:4] == ["table", "5 of 6", "6"]  # and the training's first phase
    assert row[4].startswith("about 0:") and row[5] == "results/another.md"


def test_claims_stand_in_it_with_their_verdicts(document: Element) -> None:
    """20 − 10.12 and 22 − 11; t(1) at 97.5 % is 12.7."""
    (row,) = [row for row in document.iter("tr") if row.find("td/strong") is not None and row.find("th/a") is not None]
    assert [text_of(cell) for cell in row] == [HOSTILE, "supported", "FID lower by 10.4, interval 3.3 to 17.6, n = 2"]
    opened = [[text_of(cell) for cell in row] for row in with_id(document, "claims.guided").iter("tr")]
    assert opened[:3] == [["Seed", "tarflow, guided", "tarflow, unguided"], ["0", "10.1235", "20"], ["1", "11", "22"]]
    assert opened[3][1] == "— (features of 3 of 1500 samples are not finite)"


def test_the_page_of_claims_has_their_texts_as_text(project: Path) -> None:
    render_product(plan_of(project).product("claims"))
    text = (project / "results/claims.md").read_text(encoding="utf-8")
    assert r"| \_ & % \< \$ # \<script>alert(1)\</script> | **supported** |" in text
    assert "<script>" not in text.replace(r"\<", "")


def test_the_item_of_a_paper_stands_by_its_table_and_its_claim(document: Element) -> None:
    (article,) = [each for each in document.iter("article") if each.get("aria-labelledby") == "t"]
    assert text_of(article.findall("p")[0]) == f"Table 6 of {HOSTILE}. What the paper's scale takes: Weeks"
    terms = [text_of(term) for term in with_id(document, "claims.guided").findall("dl/*")]
    assert terms[4:6] == ["Item of the paper", "Table 6"]
    assert terms[8:10] == ["What the paper's scale takes", "Days of <8 GPUs>"]


def test_protocol_and_environment(document: Element) -> None:
    text = text_of(document)
    assert "small: in the features of a small classifier Samples 1,500" in text
    assert "Commit 0123456789abcdef (clean) Packages mimflow 0.1.0, torch 2.6.0" in text


def test_texts_of_specs_come_out_as_text(document: Element) -> None:
    heading = document.find(".//h1")
    assert heading is not None and heading.text == HOSTILE
    assert HOSTILE in [text_of(paragraph) for paragraph in document.iter("p")]


@pytest.mark.slow
def test_it_is_rendered_again_when_what_it_shows_changes(tmp_path: Path) -> None:
    make(tmp_path)
    render_product(plan_of(tmp_path).product("report"))
    assert render_reason(plan_of(tmp_path).product("report")) == ""
    edit(tmp_path, "tables/t", "A note with", "Another note with")
    assert render_reason(plan_of(tmp_path).product("report")) == "t changed"
    (tmp_path / "specs/tables/another.yaml").unlink()
    assert "missing" in render_reason(plan_of(tmp_path).product("report"))


@pytest.mark.slow
def test_what_it_names_is_what_it_asks_for(tmp_path: Path) -> None:
    make(tmp_path)
    write(tmp_path, "overviews/report", "title: One\nproducts: [another]\n")
    report = plan_of(tmp_path).product("report")
    assert {job.id for job in report.jobs().values()} == {
        job.id for job in report.plan.products["another"].jobs().values()
    }
    with pytest.raises(PlanError, match="report 'report': 5 results are not there yet"):
        render_product(report)
    render_product(report, partial=True)
    text = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    assert "snakemake --cores all results/another.md" in text


@pytest.mark.parametrize(
    ("products", "line"),
    [
        ("[tt]", "products.0: there is no product 'tt' (did you mean 't'?)"),
        ("[t, t]", "products.1: 't' twice (each once)"),
        ("[report]", "products.0: 'report' is a report"),
    ],
)
def test_what_is_refused(tmp_path: Path, products: str, line: str) -> None:
    write(tmp_path, "overviews/report", f"title: One\nproducts: {products}\n")
    write(tmp_path, "tables/t", TABLE)
    problems = open_workspace(tmp_path).problems
    assert any(line in problem for problem in problems), problems


def test_of_a_product_that_says_nothing_itself_it_shows_picture_and_values() -> None:
    """As of a figure, whose kind the report does not know."""

    def render(partial: bool) -> dict[str, bytes]:
        return {"a.svg": b"<svg/>", "a.png": b"", "a.csv": b"x,y\n1,<b>\n"}

    figure = SimpleNamespace(
        name="a", kind=SimpleNamespace(name="figure"), spec=SimpleNamespace(title="<A>"), render=render,
        section=lambda: None, jobs=dict, root=Path(),
    )  # fmt: skip
    ((title, (section,)),) = sections(cast("tuple[Product, ...]", (cast(Any, figure),)))
    assert title == "Figures"
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    (picture, *_), text = parser.parseFragment(section.body).iter("img"), str(section.body)
    assert picture.attrib == {"src": "data:image/svg+xml;base64,PHN2Zy8+", "alt": "Figure: <A>"}
    assert "image/png" not in text and "<td>1</td><td>&lt;b&gt;</td>" in text
