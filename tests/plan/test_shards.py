"""Jobs that are drawn in shards: how they are cut, and that their number changes no byte of a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import REPOSITORY, cli, command, copy_project, result_of

from mimflow.artifacts.manifest import read_manifest
from mimflow.artifacts.shard import WHOLE, Shard
from mimflow.errors import PlanError
from mimflow.plan.shards import markers, shard_count, shards
from mimflow.products.registry import open_plan


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_piece_is_one_shards(count: int) -> None:
    taken = [[index for index in range(13) if Shard(place, count).takes(index)] for place in range(1, count + 1)]
    assert sorted(index for own in taken for index in own) == list(range(13))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_a_shard_is_said_as_one_of_so_many() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert Shard.parse("1/1") == WHOLE and all(WHOLE.takes(index) for index in range(5))


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/0", "-1/8", "1/8/2", "a/b", ""])
def test_what_is_no_shard_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(PlanError, match=rf"^--shard: got '{text}', wanted one of so many: 1/8"):
        Shard.parse(text)


@pytest.mark.parametrize("given", [0, -1, True, "eight", 1.5, None, 10**9])
def test_what_is_no_number_of_jobs_is_refused_in_a_line(given: object) -> None:
    with pytest.raises(PlanError, match=r"^config\.shards: got .*, wanted a number of jobs \(--config shards=8\)$"):
        shard_count(given)


def test_only_what_is_made_in_pieces_is_cut_and_not_into_more_than_there_are(tmp_path: Path) -> None:
    (tmp_path / "specs").symlink_to(REPOSITORY / "tests/tiny/specs")
    plan = open_plan(tmp_path)
    sampling = plan.job("tarflow.s0.guided")  # 200 samples in batches of 100
    assert shards(sampling, 1) == []
    assert shards(sampling, 2) == [Shard(1, 2), Shard(2, 2)]
    assert shards(sampling, 8) == [Shard(1, 2), Shard(2, 2)]
    assert {job.name for job in plan.jobs.values() if shards(job, 4)} == {
        job.name for job in plan.jobs.values() if job.stage == "infer"
    }
    assert [Path(marker).name for marker in markers(sampling, 2)] == ["infer.1-of-2", "infer.2-of-2"]


@pytest.mark.slow
def test_snakemake_scatters_and_gathers_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    target = "results/by-name/outputs/tarflow.s0.guided"
    folder = result_of(project, "outputs", "tarflow.s0.guided")
    before = read_manifest(folder / "manifest.json")
    manifest = f"results/store/outputs/{folder.name}/manifest.json"
    (project / target).unlink()
    for path in folder.iterdir():
        path.unlink()
    text = command(project, "snakemake", "--cores", "2", "--config", "shards=2", "--", manifest).stdout
    assert "infer tarflow.s0.guided 1/2" in text and "infer tarflow.s0.guided 2/2" in text
    after = read_manifest(folder / "manifest.json")
    assert after.key == before.key and after.files == before.files
    assert [shard["shard"] for shard in after.made["shards"]] == ["1/2", "2/2"]
    assert not (project / ".mimflow/work" / folder.name).exists()
    assert "Nothing to be done" in cli(project, "plan", "table1")
