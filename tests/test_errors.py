"""Errors of the system's as lines for people."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from mimflow.errors import StorageError, storage_errors

pytestmark = pytest.mark.fault("places")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTDIR])
def test_what_the_system_says_of_its_disks_names_the_file(number: int) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("work"):
        raise OSError(number, os.strerror(number), "out/a.npy")
    assert str(caught.value) == f"out/a.npy: can't write: {os.strerror(number)}" and caught.value.exit_code == 5
    with pytest.raises(StorageError, match=r"^work: can't write: "), storage_errors("work"):
        raise OSError(number, os.strerror(number))


def test_a_file_that_can_only_not_be_read_is_not_called_unwritable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="can't read: Permission denied"), storage_errors("work"):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_link_that_leads_nowhere_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").symlink_to(tmp_path / "gone")
    with pytest.raises(StorageError, match="checkpoints: can't write: File exists"), storage_errors(tmp_path):
        (tmp_path / "checkpoints").mkdir(parents=True, exist_ok=True)


def test_a_folder_that_is_copied_in_part_names_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match=r"copy/loop: can't write: .*symbolic links"), storage_errors(tmp_path):
        shutil.copytree(tmp_path / "out", tmp_path / "copy")


def test_other_errors_of_the_system_stay_loud() -> None:
    with pytest.raises(FileNotFoundError), storage_errors("work"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "out/a.npy")
