"""The catalogue of weights from outside: names are resolved, keys have digests, and files are looked at."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from specs_project import KL_VAE, RUN, make_specs, problems, write

from mimflow.errors import ArtifactError
from mimflow.plan.build import Plan
from mimflow.project.weights import describe_weights
from mimflow.project.workspace import Workspace
from mimflow.weights.given import given_file

DIGEST = hashlib.sha256(b"tensors").hexdigest()
ENTRY = """\
label: A VAE
file: weights/vae.safetensors
sha256: SHA256
published: https://example.org/vae
licence: MIT
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_specs(tmp_path)
    entry(tmp_path, "vae", DIGEST)
    return tmp_path


def entry(root: Path, name: str, digest: str) -> None:
    write(root, f"weights/{name}", ENTRY.replace("SHA256", digest if digest == "null" else f'"{digest}"'))


def run(root: Path, weights: str) -> None:
    """The run `named`: on a frozen KL-VAE of these weights."""
    text = RUN.replace("{kind: pixel, patch_size: 2}", KL_VAE.replace("WEIGHTS", weights))
    write(root, "mini/named", text.replace("    steps", "    trains: [prior]\n    steps"))


def key(root: Path) -> str:
    workspace = Workspace(root)
    assert workspace.problems == []
    return Plan(workspace).train("named", "main", 0).key


def test_a_name_stands_for_file_and_digest(project: Path) -> None:
    run(project, "vae")
    weights = Workspace(project).runs["named"].spec.tokenizer.weights
    assert (weights.name, weights.file, weights.sha256) == ("vae", "weights/vae.safetensors", DIGEST)


def test_a_name_is_where_a_phase_starts(project: Path) -> None:
    start = "    steps: 10\n    start: [vae, {name: vae, modules: [prior]}]"
    write(project, "mini/tarflow", RUN.replace("    steps: 10", start))
    workspace = Workspace(project)
    assert workspace.problems == []
    first, second = workspace.runs["tarflow"].spec.phases["main"].start
    assert (first.sha256, first.modules, second.sha256, second.modules) == (DIGEST, None, DIGEST, ["prior"])


def test_the_key_is_of_the_digest_and_not_of_name_or_path(project: Path) -> None:
    run(project, "vae")
    named = key(project)
    entry(project, "other", DIGEST)
    run(project, "other")
    assert key(project) == named
    run(project, f'{{file: elsewhere/vae.pth, sha256: "{DIGEST}"}}')
    assert key(project) == named
    entry(project, "other", "0" * 63 + "1")
    run(project, "other")
    assert key(project) != named


@pytest.mark.fault("weights from outside")
@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("vea", "tokenizer.weights: there are no weights 'vea' (did you mean 'vae'?)"),
        ("{name: vea}", "tokenizer.weights: there are no weights 'vea' (did you mean 'vae'?)"),
        ("{name: vae, file: a}", "tokenizer.weights: a name, and file beside it (the catalogue has file and digest"),
        ("{file: a}", "tokenizer.weights.sha256: missing (add it beside file)"),
    ],
)
def test_mistakes_in_naming_weights(project: Path, weights: str, expected: str) -> None:
    run(project, weights)
    (problem,) = problems(project)
    assert problem.startswith("specs/mini/named.yaml:2:") and expected in problem


@pytest.mark.fault("weights from outside")
def test_an_unknown_name_where_a_phase_starts(project: Path) -> None:
    write(project, "mini/tarflow", RUN.replace("    steps: 10", "    steps: 10\n    start: [vea]"))
    assert problems(project) == [
        "specs/mini/tarflow.yaml:8:13: phases.main.start.0: there are no weights 'vea' (did you mean 'vae'?)"
    ]


def test_a_broken_entry_is_told_once(project: Path) -> None:
    run(project, "vae")
    write(project, "weights/vae", ENTRY.replace("SHA256", "abc"))
    (problem,) = problems(project)
    assert problem.startswith("specs/weights/vae.yaml:3:9: sha256: got 'abc'")


def test_the_list_says_what_is_there(project: Path) -> None:
    entry(project, "unknown", "null")
    write(project, "weights/away", ENTRY.replace("SHA256", DIGEST).replace("vae.safe", "away.safe"))
    entry(project, "changed", "0" * 64)
    (project / "weights").mkdir()
    (project / "weights/vae.safetensors").write_bytes(b"tensors")
    run(project, "vae")
    lines = describe_weights(Workspace(project)).splitlines()
    assert lines[::5] == [
        "away: missing",
        f"changed: another file: {DIGEST}",
        f"unknown: digest not written down yet: {DIGEST}",
        "vae: there",
    ]
    assert lines[16:] == [
        "  weights/vae.safetensors",
        "  A VAE",
        "  https://example.org/vae; licence: MIT",
        "  named by 1 run",
    ]
    assert lines[4] == "  named by 0 runs"


@pytest.mark.fault("weights from outside")
def test_weights_without_a_digest_are_refused_with_the_digest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(project, "vae", "null")
    run(project, "vae")
    weights = Workspace(project).runs["named"].spec.tokenizer.weights
    monkeypatch.chdir(project)
    with pytest.raises(ArtifactError, match=r"vae\.safetensors: missing: put the VAE there \(`mimflow weights` tells"):
        given_file(weights, "the VAE")
    (project / "weights").mkdir()
    (project / "weights/vae.safetensors").write_bytes(b"tensors")
    with pytest.raises(ArtifactError) as refused:
        given_file(weights, "the VAE")
    assert str(refused.value) == (
        "weights/vae.safetensors: its digest is not written down yet "
        f"(if it is the right file, write sha256: {DIGEST} in specs/weights/vae.yaml)"
    )
