"""A phase that continues the one before it: with its objective's networks, its averages and its moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from artifacts import store_artifact
from safetensors.torch import load_file, save_file
from training_parts import KL_VAE, NETWORK, TRAIN, SignalAt, phase, results, tiny_task

from mimflow.artifacts.manifest import Artifact
from mimflow.errors import ArtifactError, Interrupted
from mimflow.progress import Progress
from mimflow.project.run import RunSpec
from mimflow.spec.base import all_problems
from mimflow.stages import train
from mimflow.training.spec import Phase

pytestmark = pytest.mark.slow

STEPS = 3
FIXED: dict[str, Any] = KL_VAE | {"tokenizer": KL_VAE["tokenizer"] | {"variance": {"kind": "fixed"}}}  # type: ignore[operator]
OBJECTIVE = {
    "kind": "joint",
    "noise": {"kind": "none"},
    "alignment": [{"network": NETWORK, "projector": [8]}],
    "adversarial": {"layers": 1, "width": 4, "lecam": 1e-3, "initialisation": "normal"},
}
# The whole split in each batch, and nothing that is drawn: what a step does depends on history alone. Only the order of
# the images differs, which follows from the step's number in its phase.
WHOLE = {
    "objective": OBJECTIVE,
    "system": FIXED,
    "batch_size": TRAIN,
    "accumulate": 1,
    "augment": {},
    "schedule": {},
    "snapshots": [],
    "optimizer": {"kind": "adamw", "lr": 1e-3, "eps": 1e-3},
}
CONTINUED = {"start": [{"phase": "main"}], "continue": True}


def run(
    data: Artifact, work: Path, before: Artifact | None = None, stop: int | None = None, **changes: Any
) -> Artifact:
    """A job of training as an artifact of the store."""
    inputs = {"data": data} | ({"start0": before} if before is not None else {})
    facts = train.run(tiny_task(**(WHOLE | changes)), inputs, work, Progress("tiny", 0.0, SignalAt(stop)))
    return store_artifact(work / "out", stage="train", name="tiny", facts=facts)


@pytest.fixture(scope="module")
def first(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(data, tmp_path_factory.mktemp("first"), steps=STEPS)


@pytest.fixture(scope="module")
def second(data: Artifact, first: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(data, tmp_path_factory.mktemp("second"), first, steps=STEPS, **CONTINUED)


FILES = ("weights.safetensors", "ema.safetensors", "optimiser.safetensors")


def test_two_phases_are_one_of_as_many_steps(data: Artifact, second: Artifact, tmp_path: Path) -> None:
    whole = run(data, tmp_path, steps=2 * STEPS)
    for file in FILES:
        found, wanted = load_file(second.file(file)), load_file(whole.file(file))
        assert found.keys() == wanted.keys()
        for name in found:
            torch.testing.assert_close(
                found[name], wanted[name], atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_a_phase_that_starts_over_is_another(data: Artifact, first: Artifact, second: Artifact, tmp_path: Path) -> None:
    over = run(data, tmp_path, first, steps=STEPS, start=[{"phase": "main"}])
    continued, anew = (load_file(artifact.file("optimiser.safetensors")) for artifact in (second, over))
    counts = {name: (int(continued[name]), int(anew[name])) for name in anew if name.endswith(".step")}
    assert set(counts.values()) == {(2 * STEPS, STEPS)}
    # Its discriminator and projector are those that the phase before had begun with.
    weights = [load_file(artifact.file("weights.safetensors")) for artifact in (second, over)]
    own = [name for name, tensor in weights[0].items() if name.startswith("objective.") and tensor.dim() > 1]
    assert {name.split(".")[1] for name in own} == {"aligners", "discriminator"}
    assert not any(torch.equal(weights[0][name], weights[1][name]) for name in own)


def test_the_first_step_begins_where_the_phase_before_ended(
    data: Artifact, first: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, torch.Tensor]] = {}

    def stop(self: Any) -> None:
        seen["weights"] = {name: tensor.clone() for name, tensor in self.objective.state().items()}
        seen["averages"] = dict(self.ema.averages)
        seen["moments"] = self.state.moments()
        raise KeyboardInterrupt

    monkeypatch.setattr("mimflow.training.loop.Trainer.run", stop)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, first, steps=STEPS, **CONTINUED)
    weights, averaged, moments = (load_file(first.file(file)) for file in FILES)
    assert seen["weights"].keys() == weights.keys() and seen["moments"].keys() == moments.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in seen["weights"].items())
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in seen["averages"].items())
    assert all(torch.equal(tensor, moments[name]) for name, tensor in seen["moments"].items())


def test_a_continued_phase_resumes_to_the_bit(
    data: Artifact, first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        run(data, tmp_path, first, stop=2, steps=STEPS, **CONTINUED)
    resumed = run(data, tmp_path, first, steps=STEPS, **CONTINUED)
    for file in (*FILES, "log.csv"):
        assert resumed.file(file).read_bytes() == second.file(file).read_bytes(), file


def test_networks_that_do_not_fit_are_named(data: Artifact, first: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "before"
    folder.mkdir()
    tensors = load_file(first.file("weights.safetensors"))
    tensors.pop("objective.discriminator.network.0.bias")
    save_file(tensors, folder / "weights.safetensors")
    before = store_artifact(folder, stage="train", name="before")
    message = "does not fit the objective of a phase that continues it: objective.discriminator.network.0.bias: missing"
    with pytest.raises(ArtifactError, match=message):
        run(data, tmp_path, before, steps=STEPS, **CONTINUED)


# -- what specs refuse -----------------------------------------------------------------------------------------------


def problems(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Those of a run of two phases, the second of which continues the first."""
    phases = {
        "one": phase(objective=OBJECTIVE) | first,
        "two": phase(objective=OBJECTIVE) | {"continue": True} | second,
    }
    spec = RunSpec.model_validate({"dataset": "digits", "phases": phases} | FIXED)
    return [(*problem.path, problem.message) for problem in all_problems(spec)]


AUTOENCODER = {"kind": "autoencoder", "noise": {"kind": "none"}}


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ({}, {}, []),
        ({}, {"ema": None, "schedule": {"decay": "cosine"}, "precision": "bf16"}, []),
        (
            {"continue": True},
            {},
            [("phases", "one", "continue", "there is no phase before it to continue")],
        ),
        (
            {},
            {"start": [{"phase": "one"}]},
            [("phases", "two", "start", "a phase that continues the one before starts from it alone")],
        ),
        (
            {"ema": None},
            {},
            [("phases", "two", "ema", "phase 'one', which it continues, keeps no averages")],
        ),
        (
            {"objective": AUTOENCODER},
            {},
            [
                (
                    "phases",
                    "two",
                    "objective",
                    "kind",
                    "'joint' can't continue phase 'one', which has 'autoencoder'",
                ),
                (
                    "phases",
                    "two",
                    "trains",
                    "trains tokenizer, prior; phase 'one', which it continues, tokenizer",
                ),
            ],
        ),
        (
            {"objective": OBJECTIVE | {"adversarial": None}},
            {},
            [
                (
                    "phases",
                    "two",
                    "objective",
                    "adversarial",
                    "differs in what it is built of from phase 'one', which it continues",
                )
            ],
        ),
    ],
)
def test_problems_have_their_place(
    first: dict[str, Any], second: dict[str, Any], wanted: list[tuple[Any, ...]]
) -> None:
    assert sorted(problems(first, second)) == sorted(wanted)


def test_closed_forms_continue_nothing() -> None:
    (problem,) = Phase.model_validate({"objective": {"kind": "moments"}, "continue": True}).problems()
    assert (problem.path, problem.message) == (("continue",), "objective 'moments' is solved in closed form")


def test_the_field_is_named_as_it_is_written() -> None:
    """`continue` is a word of Python's: the field has another name in code alone."""
    task = tiny_task(**WHOLE, **CONTINUED)
    assert task.phase.continues and task.identity()["phase"]["continue"] is True
    assert task.phase.model_dump(mode="json")["continue"] is True


def test_results_have_the_moments(first: Artifact) -> None:
    moments = load_file(first.file("optimiser.safetensors"))
    players = {name.split(".")[0] for name in moments}
    assert players == {"system", "discriminator"} and {name.rpartition(".")[2] for name in moments} == {
        "step",
        "exp_avg",
        "exp_avg_sq",
    }
    assert "optimiser.safetensors" in results(first.folder.parent)
