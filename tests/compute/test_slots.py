"""Each process has a GPU of its own, as far as there are enough."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from mimflow.compute import slots
from mimflow.compute.devices import resolve

pytestmark = pytest.mark.fault("schedulers")

TAKE = """
import sys, tempfile, torch
tempfile.tempdir = sys.argv[1]
torch.cuda.device_count = lambda: 2
from mimflow.compute.slots import take_gpu
take_gpu()
import os
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


def take(folder: Path, visible: str | None = None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    environment |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    words = [sys.executable, "-c", TAKE, str(folder)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_processes_side_by_side_take_different_gpus_and_free_them_when_they_end(tmp_path: Path) -> None:
    first = take(tmp_path)
    assert said(first) == "0"
    second = take(tmp_path)
    assert said(second) == "1"
    third = take(tmp_path)
    assert said(third) == "0", "more than there are share them evenly"
    second.kill()
    second.wait()
    fourth = take(tmp_path)
    assert said(fourth) == "1"
    for process in (first, third, fourth):
        process.communicate("")


@pytest.mark.slow
def test_what_a_scheduler_has_chosen_stays(tmp_path: Path) -> None:
    processes = [take(tmp_path, "3"), take(tmp_path, "3")]
    assert [said(process) for process in processes] == ["3", "3"]
    for process in processes:
        process.communicate("")


def test_a_cpu_takes_none_and_a_device_takes_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(slots, "_held", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    resolve("cpu")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert resolve("auto") == torch.device("cuda")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
