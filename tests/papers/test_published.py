"""Published numbers are what the papers print: specs and recordings of the papers' cells were transcribed apart."""

from __future__ import annotations

import re

import pytest
from projects import REPOSITORY

from mimflow.project.published import PublishedSpec
from mimflow.spec.compose import load

HEADINGS = {
    "VAE rFID": ("reconstruction", "fid"),
    "VAE PSNR": ("reconstruction", "psnr"),
    "rFID": ("reconstruction", "fid"),
    "PSNR": ("reconstruction", "psnr"),
    "LPIPS": ("reconstruction", "lpips"),
    "SSIM": ("reconstruction", "ssim"),
    "W/o guidance gFID": ("unguided", "fid"),
    "W/o guidance IS": ("unguided", "is"),
    "W/o guidance Prec.": ("unguided", "precision"),
    "W/o guidance Rec.": ("unguided", "recall"),
    "W/ guidance gFID": ("guided", "fid"),
    "W/ guidance IS": ("guided", "is"),
    "W/ guidance Prec.": ("guided", "precision"),
    "W/ guidance Rec.": ("guided", "recall"),
    "gFID w.o. CFG": ("unguided", "fid"),
    "gFID w. CFG": ("guided", "fid"),
    "IS": ("guided", "is"),
    "Prec.": ("guided", "precision"),
    "Rec.": ("guided", "recall"),
    "gFID (CFG)": ("guided", "fid"),
}
"""What a paper's heading is here, but for a bare gFID, which is guided in SimFlow's Table 2 and not in REPA-E's."""
BARE = {"simflow": ("guided", "fid"), "repa-e": ("unguided", "fid")}
ROWS = {
    ("imagenet256", "simflow", "Table 1"): {"simflow": "SimFlow", "simflow-repa-e": "SimFlow + REPA-E"},
    ("imagenet512", "simflow", "Table 2"): {"simflow-repa-e": "SimFlow + REPA-E", "starflow": "STARFlow"},
    ("simflow", "simflow", "Table 3"): {f"channels-{count}": f"{count}" for count in (16, 32, 64, 128)},
    ("simflow", "simflow", "Table 4"): {
        "noise-01": "0.1 ²",
        "noise-025": "0.25 ²",
        "noise-05": "0.5 ²",
        "noise-075": "0.75 ²",
        "noise-10": "1.0",
    },
    ("simflow", "simflow", "Table 5"): {size.lower(): size for size in ("S", "B", "L", "XL", "XXL")},
    ("simflow", "simflow", "Table 6"): {
        "kind-linear": "Linear",
        "kind-slerp": "Slerp",
        "kind-additive": "Additive",
    },
    ("simflow", "simflow", "Table 7"): {
        "sit-d32-frozen": "32 50 50 ✗",
        "sit-d32-joint": "32 50 50 ✓",
        "sit-d64-frozen": "64 50 50 ✗",
        "sit-d64-joint": "64 50 50 ✓",
        "sit-d64-joint-80": "64 80 80 ✓",
    },
    ("simflow", "simflow", "Table 10"): {
        "vae-learnable": "Frozen VAE Learnable var",
        "vae-fixed": "Frozen VAE Fixed var",
        "vae-fixed-norm": "Frozen VAE Fixed var + LN",
        "encoder": "Frozen Encoder Noise",
        "noise": "End-to-end Noise",
        "fixed": "End-to-end Fixed var",
    },
    ("repa-e", "repa-e", "README"): {"sd-vae": "SD-VAE", "in-vae": "IN-VAE"},
    ("sit", "sit", "abstract"): {"xl-2": "SiT-XL/2"},
}
"""By the file of `specs/published`, the recording and the paper's table: what its entries are called there."""


def published(file: str) -> PublishedSpec:
    path = REPOSITORY / f"specs/published/{file}.yaml"
    return PublishedSpec.model_validate(load(path, REPOSITORY).plain())


def recorded(paper: str, table: str) -> dict[str, dict[str, str]]:
    """The rows of a table of a recording: cells by heading, by the names of the row, which stand before its numbers."""
    text = (REPOSITORY / f"tests/recordings/published/{paper}.tsv").read_text(encoding="utf-8")
    lines = next(part for part in text.split("\n\n") if part.startswith(f"{table}\n")).splitlines()
    headings = lines[1].split("\t")
    first = next(place for place, heading in enumerate(headings) if heading in HEADINGS or heading == "gFID")
    rows = [line.split("\t") for line in lines[2:]]
    named = [place for place in range(first) if headings[place] not in ("Epochs", "#Params")]
    return {" ".join(cells[place] for place in named): dict(zip(headings, cells, strict=True)) for cells in rows}


@pytest.mark.parametrize(("file", "paper", "table"), ROWS, ids=lambda value: value.replace(" ", "-"))
def test_entries_are_the_papers_rows(file: str, paper: str, table: str) -> None:
    rows, entries = recorded(paper, table), published(file).entries
    for name, called in ROWS[file, paper, table].items():
        entry, found = entries[name], {}
        for heading, cell in rows[called].items():
            place = BARE[paper] if heading == "gFID" else HEADINGS.get(heading)
            number = re.match(r"[0-9.]+", cell)
            if place is not None and number:
                found.setdefault(place[0], {})[place[1]] = float(number[0])
        assert entry.values == found, name
        assert entry.source.endswith(table) or f"{table}, quoting" in entry.source
        for heading, value in (("Epochs", entry.epochs), ("Diff. epochs", entry.epochs)):
            if heading in rows[called]:
                assert str(value) == rows[called][heading], name
        if "#Params" in rows[called]:
            assert entry.prior_parameters == rows[called]["#Params"], name


@pytest.mark.parametrize("file", ["simflow", "repa-e", "sit"])
def test_every_entry_has_its_row_and_every_row_its_entry(file: str) -> None:
    known = [name for (where, *_), rows in ROWS.items() if where == file for name in rows]
    assert sorted(known) == sorted(published(file).entries)
    for (where, paper, table), rows in ROWS.items():
        if where == file:
            without_numbers = {"No noise"}  # it collapses, the table says
            assert set(recorded(paper, table)) - without_numbers == set(rows.values())
