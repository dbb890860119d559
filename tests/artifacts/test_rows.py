"""Rows of an array, written piece by piece: what is there, what is damaged, and what an interruption leaves."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from mimflow.artifacts.rows import Rows, claim
from mimflow.errors import ArtifactError, StorageError

VALUES = np.arange(10 * 3, dtype=np.float32).reshape(10, 3)
PIECES = {0: VALUES[:4], 1: VALUES[4:8], 2: VALUES[8:]}


def array(folder: Path, count: int = 10, dtype: type = np.float32, job: str = "one") -> Rows:
    """Ten rows of three numbers in pieces of four."""
    return Rows(folder / "values.npy", (count, 3), np.dtype(dtype), length=4, job=job)


def filled(folder: Path) -> Rows:
    rows = array(folder)
    claim(rows)
    for index, piece in PIECES.items():
        rows.write(index, piece)
    return rows


def flip(path: Path, place: int) -> None:
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_filled_file_is_the_one_that_numpy_writes(tmp_path: Path) -> None:
    rows = filled(tmp_path)
    np.save(tmp_path / "numpy.npy", VALUES)
    assert rows.path.read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_pieces_are_runs_of_rows_in_order(tmp_path: Path) -> None:
    rows = filled(tmp_path)
    assert [rows.piece(index) for index in range(rows.count)] == [range(4), range(4, 8), range(8, 10)]
    assert np.array_equal(np.concatenate(list(rows)), VALUES)
    assert np.array_equal(rows.read(2), PIECES[2])


def test_pieces_may_be_written_in_any_order_and_again(tmp_path: Path) -> None:
    rows = array(tmp_path)
    claim(rows)
    assert rows.missing() == [0, 1, 2]
    rows.write(2, PIECES[2])
    rows.write(0, PIECES[1])
    assert rows.missing() == [1]
    rows.write(0, PIECES[0])
    rows.write(1, PIECES[1])
    assert rows.missing() == []
    assert np.array_equal(np.load(rows.path), VALUES)


@pytest.mark.fault("work in progress")
def test_a_later_attempt_goes_on(tmp_path: Path) -> None:
    first = array(tmp_path)
    claim(first)
    first.write(1, PIECES[1])
    again = array(tmp_path)
    claim(again)
    assert again.missing() == [0, 2]
    assert np.array_equal(again.read(1), PIECES[1])


@pytest.mark.fault("work in progress")
def test_a_flipped_bit_is_a_missing_piece(tmp_path: Path) -> None:
    rows = filled(tmp_path)
    flip(rows.path, -1)
    assert rows.missing() == [2]
    with pytest.raises(ArtifactError, match=r"values\.npy: rows 8–9 missing or corrupt \(run the job again\)$"):
        rows.read(2)
    rows.write(2, PIECES[2])
    assert np.array_equal(np.load(rows.path), VALUES)


@pytest.mark.fault("work in progress")
def test_a_file_that_was_cut_short_lacks_only_what_was_cut(tmp_path: Path) -> None:
    rows = filled(tmp_path)
    rows.path.write_bytes(rows.path.read_bytes()[:-1])
    assert rows.missing() == [2]
    claim(rows)
    assert rows.missing() == [2]
    rows.write(2, PIECES[2])
    assert np.array_equal(np.load(rows.path), VALUES)


@pytest.mark.fault("work in progress")
def test_a_file_that_is_gone_lacks_everything(tmp_path: Path) -> None:
    rows = filled(tmp_path)
    rows.path.unlink()
    assert rows.missing() == [0, 1, 2]


@pytest.mark.fault("work in progress")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": "0"}', '{"sha256": "0", "made_from": "", "notes": null}'])
def test_a_torn_record_is_a_missing_piece(tmp_path: Path, text: str) -> None:
    rows = filled(tmp_path)
    (tmp_path / "values.pieces" / "00000004.json").write_text(text, encoding="utf-8")
    assert rows.missing() == [1]
    with pytest.raises(ArtifactError, match="rows 4–7 missing or corrupt"):
        list(rows)


@pytest.mark.fault("work in progress")
@pytest.mark.parametrize("other", [{"count": 11}, {"dtype": np.float64}])
def test_an_array_of_another_shape_or_type_starts_anew(tmp_path: Path, other: dict) -> None:
    filled(tmp_path)
    rows = array(tmp_path, **other)
    claim(rows)
    assert rows.missing() == [0, 1, 2]
    assert np.load(rows.path).shape == rows.shape and not np.load(rows.path).any()


@pytest.mark.fault("work in progress")
def test_a_piece_made_from_something_else_is_not_done(tmp_path: Path) -> None:
    rows = array(tmp_path)
    claim(rows)
    rows.write(0, PIECES[0], made_from="these", notes=[["a", 1]])
    record = rows.record(0, "these")
    assert record is not None and record.notes == [["a", 1]]
    assert rows.record(0, "those") is None


@pytest.mark.fault("work in progress")
def test_pieces_of_another_job_are_not_done(tmp_path: Path) -> None:
    filled(tmp_path)
    other = array(tmp_path, job="two")
    claim(other)
    assert other.missing() == [0, 1, 2] and array(tmp_path).missing() == []


@pytest.mark.fault("work in progress")
@pytest.mark.parametrize(("old", "new"), [('"notes": null', '"notes": 1'), ('"made_from": ""', '"made_from": "x"')])
def test_what_is_noted_of_a_piece_is_verified_as_its_rows_are(old: str, new: str, tmp_path: Path) -> None:
    rows = filled(tmp_path)
    record = tmp_path / "values.pieces" / "00000004.json"
    assert old in record.read_text()
    record.write_text(record.read_text().replace(old, new))
    assert rows.missing() == [1]


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    rows = array(tmp_path)
    claim(rows)
    with pytest.raises(ValueError, match=r"piece 2 of values\.npy: \(4, 3\), wanted \(2, 3\)"):
        rows.write(2, PIECES[0])


def test_a_file_that_has_another_name_is_never_written(tmp_path: Path) -> None:
    rows = filled(tmp_path)
    rows.link(tmp_path / "result.npy")
    before = (tmp_path / "result.npy").read_bytes()
    claim(rows)
    assert rows.missing() == [0, 1, 2]
    rows.write(0, PIECES[1])
    assert (tmp_path / "result.npy").read_bytes() == before


@pytest.mark.fault("places")
def test_a_file_system_without_links_has_the_file_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no links here")

    rows = filled(tmp_path)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    rows.link(tmp_path / "result.npy")
    assert not rows.path.exists()
    assert np.array_equal(np.load(tmp_path / "result.npy"), VALUES)


def test_a_copy_has_the_rows_that_are_kept(tmp_path: Path) -> None:
    filled(tmp_path).copy(tmp_path / "some.npy", np.array([1, 4, 9]))
    np.save(tmp_path / "numpy.npy", VALUES[[1, 4, 9]])
    assert (tmp_path / "some.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def write_piece(rows: Rows, index: int) -> None:
    rows.write(index, PIECES[index])


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    rows = array(tmp_path)
    claim(rows)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_piece, args=(rows, index)) for index in PIECES]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert rows.missing() == []
    assert np.array_equal(np.load(rows.path), VALUES)


@pytest.mark.fault("memory and disks")
def test_a_full_disk_is_a_storage_error_and_what_was_written_stays(tmp_path: Path) -> None:
    rows = array(tmp_path)
    claim(rows)
    rows.write(0, PIECES[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard))
    try:
        with pytest.raises(StorageError, match=r"values\.npy: can't write: File too large"):
            rows.write(2, PIECES[2])
        with pytest.raises(StorageError, match=r"more/values\.npy: can't write: File too large"):
            claim(array(tmp_path / "more"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rows.missing() == [1, 2]


@pytest.mark.fault("memory and disks")
def test_too_little_space_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    almost_full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: almost_full)
    large = Rows(tmp_path / "large.npy", (3000, 1000, 1000), np.dtype(np.uint8), length=1, job="0" * 64)
    with pytest.raises(StorageError, match=r"3\.0 GB are needed, 0\.0 GB are free"):
        claim(large)


def test_a_record_says_digest_origin_and_notes(tmp_path: Path) -> None:
    rows = array(tmp_path)
    claim(rows)
    rows.write(1, np.zeros((4, 3), np.float32), "origin", {"read": 4})
    (path,) = (tmp_path / "values.pieces").iterdir()
    # `(head -c 48 /dev/zero; printf '["one", "origin", {"read": 4}]') | sha256sum`
    digest = "d478c1ec0f3557bf75b09b9333327bafbb4209976e01b7d5884ebb27886f7f45"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found == {"sha256": digest, "made_from": "origin", "notes": {"read": 4}}
    assert path.name == "00000004.json"
