"""Reading checkpoints of other code bases: a module for each, and what Apple's two flows share in `apple`."""

from mimflow.interop.ml_itarflow import load_ml_itarflow, ml_itarflow_state
from mimflow.interop.ml_tarflow import load_ml_tarflow, ml_tarflow_state

__all__ = ["load_ml_itarflow", "load_ml_tarflow", "ml_itarflow_state", "ml_tarflow_state"]
