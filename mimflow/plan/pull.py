"""Whether results that DVC has recorded are missing here: a clone before `dvc pull`."""

from __future__ import annotations

from pathlib import Path

from mimflow.errors import SpecError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.freshness import render_reason
from mimflow.spec.reader import read


def missing_outputs(root: Path) -> list[str]:
    """The folders of the store that `dvc.lock` records as filled and that are absent or empty here.

    SpecError for a `dvc.lock` that is not DVC's.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    stages = read(lock, "dvc.lock").plain().get("stages") or {}
    try:
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        recorded = [out["path"] for out in outs if out["path"].startswith(paths.STORE) and out.get("nfiles", 0) > 0]
    except (AttributeError, KeyError, TypeError) as error:
        raise SpecError("dvc.lock:1:1: not as DVC writes it (`git checkout dvc.lock`)") from error
    return [path for path in recorded if not _filled(root / path)]


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(not child.name.startswith(".") for child in folder.iterdir())


def nothing_to_do(plan: Plan) -> bool:
    """Whether every product that is rendered here is what its specs ask for, and at least one is."""
    root = plan.workspace.root
    rendered = [product for product in plan.products.values() if (root / paths.product_record(product.name)).is_file()]
    return bool(rendered) and not any(render_reason(product) for product in rendered)
