"""What a run's page is of. No file says so: every run has one."""

from __future__ import annotations

from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import Name


class PageSpec(ProductSpec):
    """The page of a run."""

    run: Name
    protocol: Name | None
    """The protocol that its outputs are measured under; None where no protocol is its data set's."""
