"""What every classifier's spec can say."""

from __future__ import annotations

from mimflow.spec.base import Spec


class ClassifierSpec(Spec):
    """Base of the classifier axis."""

    kind: str
