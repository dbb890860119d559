"""mimflow: a declarative experiment system for generative-model papers, with latent normalizing flows built in.

In Python: `load` a trained system, look at the `images` of a data set, read the `results` of a table, `evaluate`
samples, `compose` a spec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimflow.api.data import images as images
    from mimflow.api.evaluation import evaluate as evaluate
    from mimflow.api.results import results as results
    from mimflow.api.specs import compose as compose
    from mimflow.api.systems import TrainedSystem as TrainedSystem
    from mimflow.api.systems import load as load

__version__ = "0.1.0"

_WHERE = {
    "load": "mimflow.api.systems",
    "TrainedSystem": "mimflow.api.systems",
    "images": "mimflow.api.data",
    "results": "mimflow.api.results",
    "evaluate": "mimflow.api.evaluation",
    "compose": "mimflow.api.specs",
}
__all__ = ["TrainedSystem", "compose", "evaluate", "images", "load", "results"]


def __getattr__(name: str) -> Any:
    """What the package offers, imported when it is first asked for: nothing imports torch before it must."""
    if name not in _WHERE:
        raise AttributeError(f"module 'mimflow' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """What completion shows."""
    return [*__all__, "__version__"]
