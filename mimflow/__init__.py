"""mimflow: a declarative experiment system for generative-model papers, with latent normalizing flows built in.

In Python: `load` a trained system, read the `results` of a table, `compose` a spec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimflow.api.results import results as results
    from mimflow.api.specs import compose as compose
    from mimflow.api.systems import TrainedSystem as TrainedSystem
    from mimflow.api.systems import load as load

__version__ = "0.1.0"

_WHERE = {
    "load": "mimflow.api.systems",
    "TrainedSystem": "mimflow.api.systems",
    "results": "mimflow.api.results",
    "compose": "mimflow.api.specs",
}
__all__ = ["TrainedSystem", "compose", "load", "results"]


def __getattr__(name: str) -> Any:
    """What the package offers, imported when it is first asked for: nothing imports torch before it must."""
    if name not in _WHERE:
        raise AttributeError(f"module 'mimflow' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)
