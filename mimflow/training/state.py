"""All tensors that a training goes on from, by name, whole in files and sharded or not in this process."""

from __future__ import annotations

from safetensors.torch import load_file
from torch import Tensor
from torch.optim import AdamW

from mimflow.artifacts.checkpoint import AVERAGED, MOMENTS, WEIGHTS
from mimflow.artifacts.manifest import Artifact
from mimflow.objectives.base import Objective, Player
from mimflow.training.ema import Ema
from mimflow.training.optimisers import load_optimiser_state, optimiser_state
from mimflow.training.sharding import own_part, scattered
from mimflow.weights.tensors import not_finite, require_fit


class TrainingState:
    """An objective's tensors, their averages, and the moments of every player's optimiser."""

    def __init__(
        self, objective: Objective, players: list[Player], optimisers: dict[str, AdamW], ema: Ema | None
    ) -> None:
        self.objective = objective
        self.players = players
        self.optimisers = optimisers
        self.ema = ema

    @property
    def averages(self) -> dict[str, Tensor]:
        """Of trained tensors; nothing without an EMA."""
        return self.ema.averages if self.ema is not None else {}

    def averaged(self) -> dict[str, Tensor]:
        """A complete state with averages in place of trained tensors; without an EMA, the state as it is."""
        return self.objective.state() | self.averages

    def moments(self) -> dict[str, Tensor]:
        """The state of all players' optimisers, as `player.parameter.slot`."""
        return {
            f"{player.name}.{name}": tensor
            for player in self.players
            for name, tensor in optimiser_state(self.optimisers[player.name], player.parameters).items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by their names in checkpoints of work in progress."""
        groups = {"weights": self.objective.state(), "ema": self.averages, "optimiser": self.moments()}
        return {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave, in another process, whole."""
        self._load_weights(_below("weights.", tensors))
        self._load_averages(_below("ema.", tensors))
        self._load_moments(_below("optimiser.", tensors))

    def not_finite(self) -> str | None:
        """What of this process's part is not finite, in words; None if all is."""
        groups = {"": self.objective.state(), "the average of ": self.averages, "the optimiser's ": self.moments()}
        return not_finite(
            {f"{of}{name}": own_part(tensor) for of, tensors in groups.items() for name, tensor in tensors.items()}
        )

    def continue_from(self, before: Artifact) -> None:
        """Take over the objective's own tensors, averages and moments of a finished phase of the same objective.

        The system's weights are in place already. ArtifactError if the objective's own tensors do not fit.
        """
        path = before.file(WEIGHTS)
        given = {name: tensor for name, tensor in load_file(path).items() if name.startswith("objective.")}
        own = {name: tensor for name, tensor in self.objective.state().items() if name.startswith("objective.")}
        require_fit(path, given, own, "objective of a phase that continues it")
        self._load_weights(given)
        if self.ema is not None:
            self._load_averages(load_file(before.file(AVERAGED)))
        self._load_moments(load_file(before.file(MOMENTS)))

    def _load_weights(self, tensors: dict[str, Tensor]) -> None:
        own = self.objective.state()
        self.objective.load_state(own | scattered(tensors, own))

    def _load_averages(self, tensors: dict[str, Tensor]) -> None:
        if self.ema is not None:
            self.ema.load(scattered({name: tensors[name] for name in self.averages}, self.averages))

    def _load_moments(self, tensors: dict[str, Tensor]) -> None:
        for player in self.players:
            found = _below(f"{player.name}.", tensors)
            # A slot is as its parameter is, but for the number of steps.
            like = {slot: player.parameters[slot.rpartition(".")[0]] for slot in found if not slot.endswith(".step")}
            found |= scattered({slot: found[slot] for slot in like}, like)
            load_optimiser_state(self.optimisers[player.name], player.parameters, found)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
