"""What the reader refuses before it means anything: each in a line, with its place; and never a traceback."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest
from projects import REPOSITORY
from specs_project import DATASET, RUN, make_specs, problems, write

from mimflow.products.registry import open_workspace
from mimflow.spec import reader
from mimflow.spec.reader import ReadError, parse

pytestmark = pytest.mark.fault("specs")

DEEP = "a list that is nested more deeply than the stack of a C parser"
REFUSED = {
    "an escaped NUL": ('label: "a\\0b"', "1:8: control character '\\x00' in a text (remove it)"),
    "an escaped escape": ('label: "\\e[31mred"', "1:8: control character '\\x1b' in a text (remove it)"),
    "a mark that reverses text": ("label: a\u202eb", "1:8: control character '\\u202e' in a text (remove it)"),
    "half a character": ('label: "\\ud800"', "not YAML: found invalid Unicode character escape code"),
    "an escape in a key": ('"a\\nb": 1', "1:1: control character in the key 'a\\nb' (remove it)"),
    "5,000 digits": ("seed: " + "9" * 5000, "1:7: 999999999999999999999999999… is too large for a whole number"),
    "300 digits": ("seed: " + "1" * 300, "1:7: 111111111111111111111111111… is too large for a whole number"),
    "65 bits": ("seed: 18446744073709551616", "18446744073709551616 is too large for a whole number (below 9,223,"),
    "many hexadecimal digits": ("seed: 0x" + "f" * 5000, "is too large for a whole number"),
    DEEP: ("a: " + "[" * 100_000, "1:53: nested more than 50 deep (a spec is flat)"),
    "deep items on a line": ("- " * 5000 + "a", "nested more than 50 deep"),
    "a long text": ("a: " + "x" * 10_001, "1:4: a text of 10,001 characters (at most 10,000)"),
    "a list as a key": ("? [a, b]\n: 1", "1:3: a key that is not text: a list or a mapping (quote it)"),
    "a no-break space for a space": ("steps:\u00a064", "(no-break space (U+00A0) at line 1, column 7: type a space)"),
    "a no-break space before a number": ("steps: \u00a064", "1:8: no-break space (U+00A0) in '\\xa064' (type a space, or"),
    "a no-break space in a number": ("steps: 1\u00a0000", "1:8: no-break space (U+00A0) in '1\\xa0000'"),
    "a no-break space in a flow": ("a: {kind:\u00a0nll}", "1:5: no-break space (U+00A0) in the key 'kind:\\xa0nll'"),
    "no-break spaces that indent": ("a:\n\u00a0\u00a0b: 1", "2:1: no-break space (U+00A0) in '\\xa0\\xa0b' (type a space, or quote"),
    "an ideographic space": ("a: 1\nb:\u30002", "(ideographic space (U+3000) at line 2, column 3: type a space)"),
    "a space of no width": ("a: 1\n\u200bb: 2", "2:1: zero width space (U+200B) in '\\u200bb' (type a space, or quote"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_a_line(case: str) -> None:
    text, expected = REFUSED[case]
    with pytest.raises(ReadError) as caught:
        parse(text, "x.yaml")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["Gaussian, 100\u00a0%", "émigré", "日本語", "a 👩\u200d🔬", "x\u00a0y"])
def test_texts_of_all_languages_are_fine(text: str) -> None:
    assert parse(f"label: {text}", "x.yaml").plain() == {"label": text}
    assert parse("seed: 9223372036854775807\nnote: |\n  a\tb\n  c\n", "x.yaml").plain()["note"] == "a\tb\nc\n"


def test_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("# " + "x" * 1_000_000)
    with pytest.raises(ReadError, match=r"x\.yaml:1:1: more than 1,000,000 bytes \(a spec is small\)"):
        reader.read(tmp_path / "x.yaml", "x.yaml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_specs(tmp_path)


EXTENDS = {
    "a list": ("[a.yaml, b.yaml]", "extends: got the list ['a.yaml', 'b.yaml'], wanted a path relative to this file (one file"),
    "a mapping": ("{a: 1}", "extends: got the mapping {'a': 1}, wanted a path relative to this file (extends: base.yaml)"),
    "nothing": ("", "extends: got nothing: null, wanted a path"),
    "a number": ("3", "extends: got 3, wanted a path"),
    "a NUL": ('"a\\0b"', "control character '\\x00' in a text"),
    "a name too long": ("a" * 300 + ".yaml", "can't be read: File name too long"),
    "a link to itself": ("loop.yaml", "extends: 'loop.yaml' can't be read: a link that leads to itself"),
    "a file outside": ("../../../outside.yaml", "extends: ../../../outside.yaml lies outside of the project (copy it into specs, or name its folder in MIMFLOW_OUTSIDE)"),
    "a link to outside": ("link.yaml", "extends: link.yaml lies outside of the project"),
    "a name in other characters": ("cafe\u0301.yaml", "no file specs/mini/cafe\u0301.yaml ('caf\u00e9.yaml' is written in other Unicode characters that look the same: 'caf\\xe9.yaml')"),
}  # fmt: skip


@pytest.mark.parametrize("case", EXTENDS)
def test_extends(tmp_path: Path, case: str) -> None:
    project = make_specs(tmp_path / "project")
    (tmp_path / "outside.yaml").write_text(RUN)
    (project / "specs/mini/link.yaml").symlink_to(tmp_path / "outside.yaml")
    (project / "specs/mini/loop.yaml").symlink_to("loop.yaml")
    (project / "specs/mini/caf\u00e9.yaml").write_text(RUN)
    value, expected = EXTENDS[case]
    write(project, "mini/child", f"extends: {value}\n")
    (found,) = [line for line in problems(project) if line.startswith("specs/mini/child.yaml:")]
    assert expected in found


def test_folders_outside_that_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_specs(tmp_path / "project")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/base.yaml").write_text(RUN)
    write(project, "mini/child", "extends: ../../../lab/base.yaml\n")
    assert len(problems(project)) == 1
    monkeypatch.setenv("MIMFLOW_OUTSIDE", f"/nowhere:{tmp_path / 'lab'}")
    assert problems(project) == []


def test_specs_may_be_a_link(tmp_path: Path) -> None:
    project = make_specs(tmp_path / "project")
    (project / "specs").rename(tmp_path / "elsewhere")
    (project / "specs").symlink_to(tmp_path / "elsewhere")
    write(project, "systems/child", "extends: ../mini/tarflow.yaml\n")
    assert problems(project) == []


def test_a_long_chain(project: Path) -> None:
    for index in range(30):
        write(project, f"mini/c{index}", f"extends: c{index + 1}.yaml\n")
    write(project, "mini/c30", RUN)
    assert any("extends: more than 20 files in a row (fewer)" in line for line in problems(project))


def test_a_colon_in_the_name_of_a_folder(project: Path) -> None:
    write(project, "mini/a:b/x", RUN.replace("lr: 1e-3", "lr: fast").replace("steps: 5", "steps: few"))
    assert problems(project) == [
        "specs/mini/a:b/x.yaml:9:34: phases.main.optimizer.lr: got the text 'fast', wanted a number",
        "specs/mini/a:b/x.yaml:12:12: phases.tune.steps: got the text 'few', wanted a whole number",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grid: {}", "grid: empty (at least one run)"),
        ("zip: {}", "zip: empty (at least one run)"),
        ("variants: []", "variants: empty (at least one run)"),
        ("grid: null\nzip: {}", "zip: empty"),
        ("zip: {prior.width: [" + ", ".join(["8"] * 300) + "]}", "zip: 300 runs, more than the 256"),
    ],
)
def test_ablations_of_nothing_or_too_much(project: Path, text: str, expected: str) -> None:
    write(project, "ablations/none", f"run: tarflow\n{text}\n")
    assert [expected in line for line in problems(project)] == [True]


@pytest.mark.parametrize("text", ["grid: null\nzip: {prior.width: [8]}", "variants: null\ngrid: {prior.width: [8]}"])
def test_a_null_is_not_the_way_that_is_given(project: Path, text: str) -> None:
    write(project, "ablations/one", f"run: tarflow\n{text}\n")
    assert problems(project) == [] and open_workspace(project).members("one") == ["one-width-8"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mian", "phases.mian: there is no phase 'mian' to override (did you mean 'main'?)"),
        ("second", "phases.second: there is no phase 'second' to override (known: main, tune)"),
    ],
)
def test_an_override_of_a_wrong_phase(project: Path, name: str, expected: str) -> None:
    write(project, "mini/child", f"extends: tarflow.yaml\noverrides: {{phases.{name}.steps: 3}}\n")
    assert problems(project) == [f"specs/mini/child.yaml:2:13: {expected}"]
    write(project, "mini/child", "extends: tarflow.yaml\n")
    write(project, "ablations/a", f"run: tarflow\ngrid: {{phases.{name}.steps: [3]}}\n")
    assert [expected in line for line in problems(project)] == [True]


def test_an_override_of_a_wrong_output(project: Path) -> None:
    write(project, "mini/child", "extends: tarflow.yaml\noverrides: {outputs.unguded.ema: false}\n")
    assert problems(project) == [
        "specs/mini/child.yaml:2:13: outputs.unguded: there is no output 'unguded' to override "
        "(did you mean 'unguided'?)"
    ]


def test_a_phase_beside_the_one_that_is_meant(project: Path) -> None:
    write(project, "mini/child", "extends: tarflow.yaml\nphases: {mian: {steps: 3, optimizer: {lr: 1e-3}}}\n")
    (found,) = problems(project)
    assert "phases.mian.objective: missing (add it beside steps, optimizer; or did you mean 'main'?)" in found


def test_a_kind_that_is_a_list(project: Path) -> None:
    write(project, "mini/tarflow", RUN.replace("kind: pixel", "kind: [pixel]"))
    assert any("tokenizer.kind: got ['pixel'], wanted one of" in line for line in problems(project))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "steps: 10",
            "steps: 1000000000000",
            "phases.main.steps: got 1000000000000, which should be less than or equal",
        ),
        ("outputs:", f"seeds: {list(range(1001))}\noutputs:", "seeds: got the list [0, 1, 2"),
    ],
)
def test_numbers_that_nobody_means(project: Path, old: str, new: str, expected: str) -> None:
    write(project, "mini/tarflow", RUN.replace(old, new, 1))
    assert [expected in line for line in problems(project)] == [True]


def test_images_that_nobody_means(project: Path) -> None:
    write(project, "datasets/digits", DATASET.replace("size: 8", "size: 40000"))
    assert problems(project) == [
        "specs/datasets/digits.yaml:2:19: transform.size: got 40000, which should be less than or equal to 32768"
    ]


@pytest.mark.parametrize("path", ["a" * 256, "x/" * 2_100 + "x", "é" * 128])
def test_paths_that_no_file_can_have(project: Path, path: str) -> None:
    write(project, "datasets/digits", DATASET.replace("{kind: digits}", f"{{kind: image_folder, path: {path}}}"))
    weights = f"label: x\nfile: data/{path}\nsha256: null\npublished: x\nlicence: x\n"
    write(project, "weights/w", weights)
    assert [line.split(": ")[1] for line in problems(project)] == ["file", "source.path"]
    assert all(line.endswith(", longer than a path can be") for line in problems(project))


LINE = re.compile(r"specs/[^\n]*?:\d+:\d+: [^\n]+")
SNIPPETS = (
    "[", "{", "}", ": ", "- ", "\n", "\n  ", "null", "kind: ", "[]", "{}", "*a", "&a ", "!!int ", "1e999", "0x", "-1",
    "\u00a0", '"\\0"', "~", "9" * 400, "extends: ", "overrides: {a.b: 1}\n", ".", "'", "é", "true", "<<: ", "? ", "| ",
)  # fmt: skip


def mutated(text: str, random_: random.Random) -> str:
    """A text with a few pieces cut out, doubled, moved, or put in."""
    for _ in range(random_.randint(1, 4)):
        start = random_.randrange(len(text))
        end = min(len(text), start + random_.choice((1, 2, 5, 20, 60)))
        piece = random_.choice(("", text[start:end] * 2, random_.choice(SNIPPETS), text[end : end + 30]))
        text = text[:start] + piece + text[end:] or "x"
    return text


def test_no_mutation_of_a_shipped_spec_is_a_traceback(tmp_path: Path) -> None:
    """What a slip of the hand makes of a spec is valid or a list of lines: 100 slips, the same every time."""
    for folder in ("weights", "datasets", "protocols", "published"):
        shutil.copytree(REPOSITORY / "specs" / folder, tmp_path / "specs" / folder)
    for name in ("tarflow-imagenet64-cond", "mimflow-l"):
        write(tmp_path, f"systems/{name}", (REPOSITORY / f"specs/systems/{name}.yaml").read_text(encoding="utf-8"))
    for name in ("mimflow-mnist5k", "tarflow-mnist5k", "classifier-mnist5k"):
        write(tmp_path, f"mini/{name}", (REPOSITORY / f"specs/mini/{name}.yaml").read_text(encoding="utf-8"))
    for folder in ("ablations", "tables"):
        for file in sorted((REPOSITORY / "specs" / folder).glob("*.yaml"))[::4]:
            write(tmp_path, f"{folder}/{file.stem}", file.read_text(encoding="utf-8"))
    random_ = random.Random(0)
    files = sorted((tmp_path / "specs").rglob("*.yaml"))
    for _ in range(100):
        file = random_.choice(files)
        text = file.read_text(encoding="utf-8")
        file.write_text(mutated(text, random_), encoding="utf-8")
        for line in open_workspace(tmp_path).problems:
            assert LINE.fullmatch(line), (file.name, line)
        file.write_text(text, encoding="utf-8")


def test_a_field_can_be_called_y_as_an_axis_is_and_its_value_is_told_as_ever() -> None:
    assert parse("draw: {y: [guided.fid]}", "f.yaml").plain() == {"draw": {"y": ["guided.fid"]}}
    with pytest.raises(ReadError, match=r"`y` is a truth value to YAML 1\.1"):
        parse("draw: y", "f.yaml")
