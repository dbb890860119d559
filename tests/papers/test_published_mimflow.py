"""MIMFlow's published numbers are what its abstract and release print: the recording was transcribed apart from specs."""

from __future__ import annotations

import re

import pytest
from projects import REPOSITORY

from mimflow.project.published import PublishedEntry, PublishedSpec
from mimflow.spec.compose import load
from mimflow.spec.reader import read


def recorded() -> dict[str, float]:
    """The figures of the recording by their names, percentages as shares; `482M` as 482."""
    text = (REPOSITORY / "tests/recordings/published/mimflow.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    numbers = {name: float(re.match(r"[0-9.]+", cell)[0]) for name, cell in rows}  # type: ignore[index]
    return {name: numbers[name] / 100 if cell.endswith("%") else numbers[name] for name, cell in rows}


def published(file: str, name: str) -> PublishedEntry:
    path = REPOSITORY / f"specs/published/{file}.yaml"
    return PublishedSpec.model_validate(load(path, REPOSITORY).plain()).entries[name]


def test_the_abstracts_row() -> None:
    entry, figures = published("imagenet256", "mimflow-l"), recorded()
    assert entry.values == {
        "guided": {"fid": figures["FID"]},
        "probe": {"probe_best": pytest.approx(figures["linear probing accuracy"])},
    }
    assert entry.prior_parameters == f"{figures['parameters']:.0f}M"
    assert entry.epochs == figures["epochs of phase 1"] + figures["epochs of phase 2"]
    assert entry.primary


def test_the_gain_is_over_simflow_l() -> None:
    """The abstract does not say over what: SimFlow-L's FID, in its Table 5, gives the printed share."""
    baseline, figures = published("simflow", "l").values["guided"]["fid"], recorded()
    assert (baseline - figures["FID"]) / baseline == pytest.approx(
        figures["gain over similar-scale NF baselines"], abs=5e-4
    )


def test_the_papers_run_is_as_printed() -> None:
    run, figures = read(REPOSITORY / "specs/systems/mimflow-l.yaml", "mimflow-l").plain(), recorded()
    tokenizer, phases, guidance = run["tokenizer"], run["phases"], run["outputs"]["guided"]["guidance"]
    assert tokenizer["latents"] == figures["tokens"]
    assert tokenizer["channels"] == figures["dimensions of a token"]
    assert tokenizer["patch_size"] == figures["patch size"]
    patches = (256 / tokenizer["patch_size"]) ** 2
    assert tokenizer["latents"] / patches == 1 - figures["fewer tokens than standard models"]
    assert tokenizer["mask"]["low"] == figures["least share of hidden patches"]
    assert tokenizer["mask"]["high"] == figures["largest share of hidden patches"]
    assert phases["joint"]["epochs"] == figures["epochs of phase 1"]
    assert phases["decoder"]["epochs"] == figures["epochs of phase 2"]
    assert {phase["objective"]["noise"]["std"] for phase in phases.values()} == {figures["noise"]}
    assert guidance["weight"] == figures["weight of guidance"]
    assert guidance["interval"]["fraction"] == figures["interval of guidance"]
