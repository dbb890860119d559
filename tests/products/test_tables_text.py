"""How tables are set: escaping, alignment, wording, a user's template."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tables_project import FACTS, GOLDEN, edit, fill, make_project, plan_of, put, render, use_template

from mimflow.artifacts.samples import SamplesFacts
from mimflow.contents.samples import Samples
from mimflow.errors import SpecError
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.products.table.latex import latex
from mimflow.products.table.layout import markdown
from mimflow.products.table.wording import parameter_count, short_count

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


# -- text ------------------------------------------------------------------------------------------------------------


def test_latex_escapes() -> None:
    assert latex("a & b_c: 5 % of #1, $2 {x} ~ ^ \\") == (
        r"a \& b\_c: 5 \% of \#1, \$2 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert latex("32×32 ± σ — ≥ 1") == r"32$\times$32 $\pm$ $\sigma$ --- $\geq$ 1"
    assert latex("[0.5] *") == "{[}0.5] {*}"


def test_every_line_of_a_tabular_has_all_columns(project: Path) -> None:
    render(project)
    text = (project / "results/t.tex").read_text(encoding="utf-8")
    tabulars = re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.DOTALL)
    assert len(tabulars) == 2
    for columns, body in tabulars:
        for line in re.findall(r"^(.*) \\\\$", body, re.MULTILINE):
            spanned = sum(int(span) - 1 for span in re.findall(r"\\multicolumn{(\d+)}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(columns), line


def test_every_line_of_a_markdown_table_has_all_columns(project: Path) -> None:
    text = render(project)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = table.splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert len({len(line) for line in lines}) == 1


def test_markdown_escapes() -> None:
    assert markdown("a|b *c* _d_ e_f `g` [h]\n i") == r"a\|b \*c\* \_d\_ e_f \`g\` \[h\] i"
    assert markdown("$x$ ~~y~~ &lt; R&D, #1 #") == r"\$x\$ \~\~y\~\~ \&lt; R&D, #1 \#"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "—"),
        (7, "7"),
        (12_345, "12.3k"),
        (960_000, "960.0k"),
        (999_990, "1.0M"),
        (466_300_000, "466.3M"),
        (1_400_000_000, "1.4B"),
    ],
)
def test_parameter_count(count: int, text: str) -> None:
    assert parameter_count(count) == text


@pytest.mark.parametrize(("count", "text"), [(128, "128"), (1500, "1.5k"), (2000, "2k"), (50_000, "50k")])
def test_short_count(count: int, text: str) -> None:
    assert short_count(count) == text


def test_output_headings() -> None:
    plain, weight_0, weight_1, weight_3 = (
        InverseSpec(guidance=guidance)
        for guidance in (None, *(LinearGuidance(weight=weight) for weight in (0.0, 1.0, 3.0)))
    )
    assert Samples().heading("s", [plain, weight_0]) == "Without guidance"
    assert Samples().heading("s", [weight_3, weight_3]) == "With guidance (linear, weight 3)"
    assert Samples().heading("s", [weight_1, weight_3]) == "With guidance"
    assert Samples().heading("s", [plain, weight_3]) == "s"


@pytest.mark.fault("labels")
def test_rows_that_sample_differently_are_told_apart(project: Path) -> None:
    text = render(project)
    assert (
        r"- **Output unguided**: Gaussian & 100 % \_simple\_ #1: inverse; weights of the last step; "
        "TARFlow: inverse, denoise (score, std 0.2); averaged weights\n"
    ) in text


# -- the user's template ---------------------------------------------------------------------------------------------


def test_users_template(project: Path) -> None:
    use_template(
        project, "{% for row in table.measured.rows %}{{ row.label }}: {{ row.cells[2] | cell }}\n{% endfor %}"
    )
    assert render(project) == "Gaussian & 100 % _simple_ #1: 40.3\nTARFlow: **22.0** ± 2.0\n"
    assert (project / "results/t.tex").read_text(encoding="utf-8") == (GOLDEN / "t.tex").read_text(encoding="utf-8")


def test_users_template_may_include_ours(project: Path) -> None:
    ours = render(project)
    use_template(project, "Draft.\n\n{% include 'table.md.j2' %}")
    assert render(project) == "Draft.\n\n" + ours


@pytest.mark.fault("templates")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fine\n{% for row of table %}", r"templates/mine\.md\.j2:2: template of table 't': expected token 'in'"),
        ("{{ 1 }}\n\n{{ tabel.title }}", r"templates/mine\.md\.j2:3: template of table 't': 'tabel' is undefined"),
        ("\n{{ table.titel }}", r"templates/mine\.md\.j2:2: .*has no attribute 'titel'"),
        ("\n{{ table.notes | nosuch }}", r"templates/mine\.md\.j2:2: .*No filter named 'nosuch'"),
        ("\n{{ table.name + 1 }}", r"templates/mine\.md\.j2:2: .*can only concatenate str"),
        ("\n\n{{ table.name | sort(attribute=3) | sum }}", r"templates/mine\.md\.j2:3: "),
        ("{% include 'other.j2' %}", r"templates/mine\.md\.j2:1: .*no template 'other\.j2'"),
    ],
)
def test_broken_template_is_one_line(project: Path, text: str, message: str) -> None:
    old = render(project)
    use_template(project, text)
    with pytest.raises(SpecError, match=message) as caught:
        render(project)
    assert "\n" not in str(caught.value)
    assert (project / "results/t.md").read_text(encoding="utf-8") == old


# -- what was not finite ---------------------------------------------------------------------------------------------


def test_counts_of_what_was_not_finite_stand_under_the_table(project: Path) -> None:
    """Two of three seeds skipped steps; every seed drew samples anew."""
    edit(project, "mini/tarflow", "    epochs: 2\n", "    epochs: 2\n    on_nonfinite: skip\n")
    edit(project, "mini/tarflow", "  guided: {kind: inverse,", "  guided: {kind: inverse, on_nonfinite: redraw,")
    fill(project)
    assert "Not finite" in render(project)
    assert "TARFlow: phase tune: 0 skipped of 1,125 steps, output guided: 0 drawn anew" in render(project)
    plan = plan_of(project)
    for seed, skipped in enumerate((2, 0, 3)):
        job = plan.job(f"tarflow.tune.s{seed}")
        put(project, job, replace(FACTS[job.name], skipped=skipped))
        put(project, plan.job(f"tarflow.s{seed}.guided"), SamplesFacts(1500, "ema.safetensors", "cpu", 1.0, redrawn=1))
    text = "TARFlow: phase tune: 5 skipped of 1,125 steps, output guided: 3 drawn anew of 4,500 samples"
    assert f"- **Not finite**: {text}\n" in render(project)
