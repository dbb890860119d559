"""A system in torch: the modules that a spec names, and how their weights are written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from torch import nn

from mimflow.classifiers.registry import CLASSIFIERS
from mimflow.errors import ArtifactError
from mimflow.priors.base import Prior
from mimflow.priors.registry import PRIORS
from mimflow.system.spec import Shapes, System
from mimflow.tokenizers.base import Tokenizer
from mimflow.tokenizers.registry import TOKENIZERS
from mimflow.weights.tensors import read_tensors, require_fit


class SystemModules(nn.Module):
    """The networks of a system, each `None` where the spec names none."""

    tokenizer: Tokenizer | None
    prior: Prior | None
    classifier: nn.Module | None

    def __init__(self, system: System, shapes: Shapes):
        super().__init__()
        self.spec = system
        self.tokenizer = self.prior = self.classifier = None
        if system.tokenizer is not None:
            self.tokenizer = TOKENIZERS.build(system.tokenizer, shapes.image)
            if system.prior is not None:
                latent = system.tokenizer.latent_shape(shapes.image)
                self.prior = PRIORS.build(system.prior, latent, shapes.num_classes)
        if system.classifier is not None:
            self.classifier = CLASSIFIERS.build(system.classifier, shapes.image, shapes.num_classes)

    @overload
    def module(self, name: Literal["tokenizer"]) -> Tokenizer: ...

    @overload
    def module(self, name: Literal["prior"]) -> Prior: ...

    @overload
    def module(self, name: str) -> nn.Module: ...

    def module(self, name: str) -> nn.Module:
        """The module of that name; KeyError if the system has none."""
        module: nn.Module | None = getattr(self, name)
        if module is None:
            raise KeyError(name)
        return module


def parameter_count(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters())


def load_weights(modules: SystemModules, path: Path, only: list[str] | None = None) -> list[str]:
    """Load a state of a whole system into the modules that `only` names, or all that both sides have; their names.

    A part of a module is named by its path: `tokenizer.encoder`.

    Every tensor of a module that is taken has to be there, and in its shape: ArtifactError names those that are not,
    or says that the file is no checkpoint.
    """
    state = read_tensors(path)
    names = only or [name for name, _ in modules.named_children() if any(k.startswith(f"{name}.") for k in state)]
    if not names:
        raise ArtifactError(f"{path}: holds none of the system's modules")
    for name in names:
        try:
            module = modules.get_submodule(name)
        except AttributeError:
            raise ArtifactError(f"{path}: the system has no module '{name}' to load") from None
        prefix = f"{name}."
        own = {prefix + key: value for key, value in module.state_dict().items()}
        given = {key: value for key, value in state.items() if key.startswith(prefix)}
        require_fit(path, given, own, "system")
        module.load_state_dict({key.removeprefix(prefix): value for key, value in given.items()})
    return names
