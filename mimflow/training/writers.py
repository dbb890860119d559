"""Writers of dashboards, by their own packages: what `compute.watch` names. They are no dependencies of mimflow's.

They write files alone, below `results/watch`, and ask no network for anything: `tensorboard --logdir
results/watch/tensorboard` shows them, `wandb sync results/watch/wandb/offline-run-*` sends them on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mimflow.errors import PlanError
from mimflow.training.live import RowWriter

FOLDER = Path("results/watch")
"""Below the project's folder."""
KEY_SHOWN = 8
"""Digits of a job's key that tell apart what has the same name."""


class TensorBoard:
    """Figures as scalars of TensorBoard's, over steps; in TensorBoard a run is a folder, `NAME-KEY`.

    Steps that are done again after an interruption are hidden where an earlier process has shown them.
    """

    def __init__(self, name: str, job: str, task: Mapping[str, Any]):
        self.folder = FOLDER / "tensorboard" / f"{name}-{job[:KEY_SHOWN]}"

    def begin(self, step: int) -> None:
        """Open a file of events beside those of earlier processes."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)

    def add(self, row: Mapping[str, float]) -> None:
        """A scalar a figure, at the row's step."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases:
    """Figures as an offline run of Weights & Biases', with the job's task as its configuration.

    Its id is the job's key: what a process after an interruption writes goes on with the same run.
    """

    def __init__(self, name: str, job: str, task: Mapping[str, Any]):
        self.name = name
        self.job = job
        self.task = task

    def begin(self, step: int) -> None:
        """Begin a run, or go on with it; W&B's steps are the training's."""
        import wandb

        FOLDER.mkdir(parents=True, exist_ok=True)
        # What a job prints is Snakemake's to keep, and nothing of the machine's or the repository's is looked at.
        settings = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, x_disable_meta=True)
        self._run = wandb.init(
            project="mimflow",
            name=self.name,
            id=self.job[: 2 * KEY_SHOWN],
            resume="allow",
            mode="offline",
            dir=str(FOLDER),
            config=dict(self.task),
            settings=settings,
        )

    def add(self, row: Mapping[str, float]) -> None:
        """Log the row's figures at its step."""
        self._run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Finish the run: all is on the disk."""
        self._run.finish()


WRITERS: dict[str, Callable[[str, str, Mapping[str, Any]], RowWriter]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}
"""By the names that specs have for them, which are those of their packages."""


def require_writers(names: Sequence[str]) -> None:
    """PlanError, with what to install, where the package of a writer is not there."""
    for name in names:
        if find_spec(name) is None:
            raise PlanError(f"compute.watch: {name} is not installed (pip install 'mimflow[watch]', or leave it out)")


def open_writers(names: Sequence[str], label: str, job: str, task: Mapping[str, Any]) -> list[RowWriter]:
    """The writers of those names, for the job with that key: `label` is what it is called, `task` what made the key."""
    return [WRITERS[name](label, job, task) for name in dict.fromkeys(names)]
