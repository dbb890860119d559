"""A Slurm of this machine alone for tests: daemons of their own, nodes of which one pretends to have two GPUs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
NODES = {"small": "", "big": "Gres=gpu:2", "spare": ""}
"""Nodes, all of this machine, and what they have."""
PATIENCE = 60.0
"""Seconds that anything here may take."""


def missing() -> list[str]:
    """The programs of Slurm's that are not installed."""
    return [name for name in (*DAEMONS, *CLIENTS) if _where(name) is None]


def _where(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def wait_until(ready: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for something to become true."""
    until = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < until, f"{what}: not after {patience:.0f} s"
        time.sleep(0.2)


class Cluster:
    """A running Slurm. Its programs find it whatever the environment that they are called in says.

    Partitions: `cpu`, the default, whose node has no GPU; `gpu`, whose node pretends to have two; `both` of these nodes;
    `night` of a third, and `urgent` of the same, which preempts what runs there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.programs = folder / "bin"
        """Goes to the front of PATH."""

    @property
    def path(self) -> str:
        """PATH with its programs in front."""
        return f"{self.programs}{os.pathsep}{os.environ['PATH']}"

    def ask(self, *words: str) -> str:
        """The output of one of its programs."""
        done = subprocess.run(
            [self.programs / words[0], *words[1:]], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        return done.stdout.strip()

    def write(self) -> None:
        """Write the configuration and the programs."""
        for name in ("bin", "state", "munge", "spool"):
            (self.folder / name).mkdir(parents=True)
        for name in CLIENTS:
            # Snakemake's executor takes what begins with SLURM_ out of the environment: the place is named at each call.
            program = self.programs / name
            program.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_where(name)} "$@"\n')
            program.chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        (self.folder / "munge").chmod(0o755)
        (self.folder / "gres.conf").write_text(
            "NodeName=big Name=gpu File=/dev/zero\nNodeName=big Name=gpu File=/dev/full\n"
        )
        (self.folder / "slurm.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        control, *ports = _free_ports(1 + len(NODES))
        name = socket.gethostname()
        user = "root" if os.getuid() == 0 else str(os.getuid())
        node = f"NodeHostname={name} NodeAddr=127.0.0.1 CPUs=16 RealMemory=200000"
        nodes = "\n".join(
            f"NodeName={name} Port={port} {gres} {node}"
            for (name, gres), port in zip(NODES.items(), ports, strict=True)
        )
        return f"""
ClusterName=test
SlurmctldHost={name}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={self.folder}/munge/socket,cred_expire=5
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool/%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd-%n.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_min_interval=100000,bf_interval=2
PriorityType=priority/basic
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=small Default=YES PriorityTier=1 State=UP
PartitionName=gpu Nodes=big PriorityTier=1 State=UP
PartitionName=both Nodes=small,big PriorityTier=1 State=UP
PartitionName=night Nodes=spare PriorityTier=1 State=UP
PartitionName=urgent Nodes=spare PriorityTier=9 State=UP
"""

    def start(self) -> list[subprocess.Popen[bytes]]:
        """Start the daemons and wait until all nodes are idle."""
        munge, conf = self.folder / "munge", self.folder / "slurm.conf"
        daemons = [
            self._run(
                "munged",
                "--foreground",
                "--force",
                f"--socket={munge}/socket",
                f"--key-file={self.folder}/munge.key",
                f"--pid-file={munge}/pid",
                f"--log-file={munge}/log",
                f"--seed-file={munge}/seed",
            )
        ]
        wait_until((munge / "socket").exists, "munged")
        daemons.append(self._run("slurmctld", "-D", "-f", str(conf)))
        daemons += [self._run("slurmd", "-D", "-f", str(conf), "-N", node) for node in NODES]
        wait_until(self._idle, "all nodes idle")
        return daemons

    def _idle(self) -> bool:
        with suppress(subprocess.CalledProcessError):
            return set(self.ask("sinfo", "--noheader", "--format=%t").split()) == {"idle"}
        return False

    def _run(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        program = _where(name)
        assert program is not None
        with (self.folder / "daemons.log").open("ab") as log:
            return subprocess.Popen([program, *words], stdout=log, stderr=log, start_new_session=True)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Within it, a Slurm runs; it and all that it started are ended afterwards."""
    cluster = Cluster(folder)
    cluster.write()
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        daemons += cluster.start()
        yield cluster
    finally:
        with suppress(OSError, subprocess.SubprocessError):
            cluster.ask("scancel", "--full", "--signal=KILL", "--user", str(os.getuid()))
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
