"""The benchmarks compare two ways of computing the same thing: that they run, and agree."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from projects import REPOSITORY

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")


@pytest.fixture
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of `benchmarks`, imported as it is run: with its folder on the path."""
    folder = REPOSITORY / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location(f"benchmark_{request.param}", folder / f"{request.param}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("benchmark", ["sampling"], indirect=True)
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_plain_sampling_agrees_with_ours(benchmark: ModuleType, weight: float) -> None:
    torch.manual_seed(0)
    case, peak = benchmark.Case(tokens=9, width=64, blocks=2, layers=1, batch=3), benchmark.Peak(1e9, 1e9)
    line = benchmark.measure(case, weight, runs=1, peak=peak, device=CPU)
    assert float(line.rsplit(" ", 1)[1]) < 1e-5, line


@pytest.mark.parametrize("benchmark", ["training"], indirect=True)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_plain_training_step_agrees_with_ours(benchmark: ModuleType, precision: str) -> None:
    case = benchmark.Case(side=3, width=64, blocks=2, layers=1, batch=4)
    line = benchmark.measure(case, precision, runs=1, peak=1e10, device=CPU)
    assert float(line.rsplit(" ", 1)[1]) < 1e-5, line


@pytest.mark.parametrize("benchmark", ["joint"], indirect=True)
def test_joint_steps_are_the_same_in_either_layout(benchmark: ModuleType) -> None:
    from mimflow.products.registry import open_workspace

    lines = benchmark.measure(open_workspace(REPOSITORY), benchmark.CASES[2], runs=1, peak=1e10)
    assert len(lines) == 2
    assert all(float(line.rsplit(" ", 1)[1]) < 1e-5 for line in lines), lines


@pytest.mark.parametrize("benchmark", ["evaluation"], indirect=True)
def test_features_and_balls_are_those_of_the_plain_way(benchmark: ModuleType) -> None:
    from mimflow.products.registry import open_workspace

    features, balls, *others = benchmark.measure(open_workspace(REPOSITORY), 60, 70, runs=1)
    assert float(features.rsplit(" ", 1)[1]) < 1e-5, features
    numbers = re.search(r"([\d.]+), ([\d.]+) against ([\d.]+), ([\d.]+)$", balls)
    assert numbers is not None and numbers.group(1, 2) == numbers.group(3, 4), balls
    assert [line.split()[0] for line in others] == [*benchmark.COMPARED, "all,"]


@pytest.mark.parametrize("benchmark", ["data"], indirect=True)
def test_the_data_side_is_timed_and_compared_with_what_a_training_takes(benchmark: ModuleType, tmp_path: Path) -> None:
    speeds = [benchmark.prepare(4), *benchmark.read(tmp_path, images=32, batch=8, steps=2)]
    assert [speed.unit for speed in speeds] == ["images", "images", "images", "MB"]
    assert all(speed.per_second > 0 for speed in speeds)
    # TARFlow's 64 × 64 pixels in patches of 2 are 1,024 tokens; 466.3 M parameters follow from its published command.
    assert benchmark.most_images("tarflow-imagenet64-cond") == pytest.approx(
        8 * 400e12 / (6 * 466.3e6 * 1024), rel=1e-3
    )


@pytest.mark.parametrize("benchmark", ["startup"], indirect=True)
def test_the_large_project_has_a_thousand_jobs(benchmark: ModuleType, tmp_path: Path) -> None:
    from mimflow.products.registry import open_plan

    plan = open_plan(benchmark.large_project(tmp_path, runs=198))
    assert len(plan.jobs) == 1001, "and the reference that all share"


@pytest.mark.parametrize("benchmark", ["evaluation_memory"], indirect=True)
def test_the_samples_whose_memory_is_measured_have_the_distance_that_follows_from_them(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    """Pixels are uniform in [−1, 1], of variance 1/3, and so are projections: F (1 − √⅓)², and more for few samples."""
    value, peak = benchmark.measure(tmp_path, 2000, 16, 32)
    assert value == pytest.approx(32 * (1 - (1 / 3) ** 0.5) ** 2, rel=0.1)
    assert peak < 4000


@pytest.mark.parametrize("benchmark", ["gpu"], indirect=True)
def test_the_benchmark_of_a_gpu_runs_on_a_cpu(benchmark: ModuleType) -> None:
    from mimflow.products.registry import open_workspace

    workspace = open_workspace(REPOSITORY)
    case = benchmark.Case("tarflow-mnist5k", "main", batch=4, part=2, sampled=(2,))
    line = benchmark.train(workspace, case, CPU, peak=1e10, steps=1)
    found = re.search(r"([\d.]+) images/s .* ([\d.]+) GFLOP an image +([\d.]+)% of the measured peak", line)
    assert found is not None, line
    rate, flops, share = map(float, found.groups())
    # Six operations a parameter and token, as for any transformer; attention adds a little to 1.7 million parameters.
    assert flops == pytest.approx(6 * 1.7e6 * 16 / 1e9, rel=0.35)
    assert share == pytest.approx(100 * rate * flops * 1e9 / 1e10, rel=0.3)
    agrees, *sampled, plain = benchmark.sample(workspace, case, CPU)
    assert "largest difference to the CPU 0.0e+00" in agrees
    assert all(re.search(r"batch +2 +[\d.]+ images/s, the first batch [\d.]+$", line) for line in sampled)
    assert re.search(r"batch +2 +[\d.]+ images/s$", plain)
    assert [line.split()[3] for line in sampled] == ["bf16", "fp32"]
    assert plain.startswith("plain")


@pytest.mark.parametrize("benchmark", ["growth"], indirect=True)
@pytest.mark.parametrize(
    "what, grows, sizes",
    [("step", "tokens", (4, 256)), ("step", "processes", (1, 2)), ("sampling", "images", (2, 128))],
)
def test_growth_is_measured_in_processes_of_its_own(
    benchmark: ModuleType, what: str, grows: str, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is 64 times as much takes longer and more memory; two processes are there to be measured."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # what the command line sets for the processes that it starts
    smallest = benchmark.Case(what, tokens=4, width=64, images=8, parts=2 if what == "step" else 1, repeats=2)
    title, *rows = benchmark.table(grows, [smallest._replace(**{grows: size}) for size in sizes]).splitlines()
    assert title.split() == [what, grows, "seconds", "of", "a", "core", "MB"]
    found = [re.fullmatch(r" +(\d+) +[\d.]+ +([\d.]+) +[\d.]+× +([\d.]+) +[\d.]+×", row) for row in rows]
    (first, *little), (second, *much) = (tuple(map(float, row.groups())) for row in found if row is not None)
    assert (first, second) == sizes
    assert min(little[0], much[0]) > 0
    if grows != "processes":
        assert much[0] > little[0]
        assert much[1] > little[1]


@pytest.mark.parametrize("benchmark", ["eight_gpus"], indirect=True)
def test_the_arithmetic_of_a_run(benchmark: ModuleType) -> None:
    """By hand: a TARFlow of 4 × 2 layers, 128 wide, over 16 tokens, and the sampling of a batch of it, guided."""
    from mimflow.products.registry import open_workspace
    from mimflow.system.spec import Shapes

    workspace = open_workspace(REPOSITORY)
    run = workspace.get("run", "tarflow-mnist5k").spec
    shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
    found, _ = benchmark.operations(run, "main", shapes)
    layers, width, tokens = 8, 128, 16
    linear = 6 * tokens * layers * 12 * width**2
    ends = 6 * tokens * 4 * width * 3 * 64  # four blocks map patches of 8 × 8 to their width and to scale and shift
    scores = 7 * 2 * layers * tokens**2 * width  # two products forward and five backward, which do one again
    assert set(found) == {"fp32"}
    # Neither gradients of a block's first input are needed, nor a prediction from the last token.
    assert found["fp32"] == pytest.approx(linear + ends + scores, rel=0.08)
    assert benchmark.device_seconds({"fp32": 67e12, "bf16": 989e12}) == pytest.approx(5.0)
    sampled = benchmark.sample(run, shapes)
    passes = 2 * 250 * tokens * layers * (12 * width**2 + 2 * tokens * width)  # two branches, 250 images
    denoising = run.outputs["guided"].prior_passes / 2
    assert sampled.arithmetic == pytest.approx(2 * passes * denoising / (0.4 * 67e12))
    assert sampled.launches == pytest.approx(16 * 8 * 20 * 10e-6)
    assert sampled.decoder == 0, "pixels need none"
