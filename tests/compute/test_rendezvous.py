"""Slurm's tasks in torch.distributed's words."""

from __future__ import annotations

import pytest

from mimflow.compute.rendezvous import rendezvous

# As srun sets them for the second of eight tasks on two nodes (Slurm 22.05, `man srun`).
TASK = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
}


def test_a_task_of_slurms_is_a_rank() -> None:
    found = rendezvous(TASK)
    assert found == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "10.0.0.7",
        "MASTER_PORT": "24711",
    }
    assert rendezvous(TASK | {"SLURM_JOB_ID": "3000001"})["MASTER_PORT"] == "20001"


@pytest.mark.parametrize(
    "changed",
    [{"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, {"RANK": "0", "WORLD_SIZE": "2"}],
    ids=["one task", "torchrun's own"],
)
def test_what_is_no_task_of_several_is_left_alone(changed: dict[str, str]) -> None:
    assert rendezvous(TASK | changed) == {}


def test_a_batch_script_of_several_tasks_is_one_process() -> None:
    script = {name: value for name, value in TASK.items() if "STEP" not in name and "LAUNCH" not in name}
    assert rendezvous(script | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}) == {}


def test_outside_slurm_there_is_none() -> None:
    assert rendezvous({}) == {}
