"""A report as a product: it is rendered from the results of the products that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import sha256_of
from mimflow.plan.freshness import product_identity, product_key
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.report.spec import ReportSpec
from mimflow.project.kinds import PaperItem

TEMPLATES = Path(__file__).resolve().parent / "templates"


class ReportProduct(Product):
    """A report with everything that it is rendered from. It reads no rendered file of others, only their results."""

    spec: ReportSpec

    @cached_property
    def included(self) -> tuple[Product, ...]:
        """The products that it shows, in order: of a spec that names none those that are there when it is planned."""
        if self.spec.products is not None:
            return tuple(self.plan.products[name] for name in self.spec.products)
        return tuple(product for product in self.others if not self._lacks(product))

    @property
    def missing(self) -> tuple[Product, ...]:
        """The products of the project of which results are missing."""
        return tuple(product for product in self.others if self._lacks(product))

    @cached_property
    def others(self) -> list[Product]:
        """The products of the project but reports, kind by kind, and of each kind by name."""
        kinds = [kind.name for kind in self.plan.workspace.products]
        found = [product for product in self.plan.products.values() if product.kind.name != self.kind.name]
        return sorted(found, key=lambda product: (kinds.index(product.kind.name), product.name))

    def paper_title(self, item: PaperItem) -> str:
        """The title of the paper that an item is of; its name in specs where no spec is of the paper."""
        titles: dict[str, str] = {loaded.name: loaded.spec.title for loaded in self.plan.workspace.all("paper")}
        return titles.get(item.of, item.of)

    def _lacks(self, product: Product) -> bool:
        return not all(job.done(self.root) for job in product.jobs().values())

    def jobs(self) -> Mapping[str, Job]:
        """Those of all that it shows, each once, under the product's name and the name that it has there."""
        jobs: dict[str, Job] = {}
        seen: set[str] = set()
        for product in self.included:
            for name, job in product.jobs().items():
                if job.id not in seen:
                    seen.add(job.id)
                    jobs[f"{product.name}.{name}"] = job
        return jobs

    def shown(self) -> Mapping[str, tuple[Job, str]]:
        """What the products that it shows show."""
        return {f"{each.name}.{name}": found for each in self.included for name, found in each.shown().items()}

    def identity(self) -> dict[str, Any]:
        """What the products that it shows depend on, their items of papers, which others are missing, the templates."""
        return {
            "sources": {product.name: product_key(product_identity(product)) for product in self.included},
            "missing": [product.name for product in self.missing],
            # What products say of papers is outside their keys.
            "papers": {
                product.name: [[self.paper_title(item), item.item, item.needs] for item in product.papers]
                for product in self.included
            },
            "templates": {path.name: sha256_of(path) for path in sorted(TEMPLATES.glob("*.j2"))},
        }

    def render(self, partial: bool) -> dict[str, bytes]:
        """The one file."""
        from mimflow.products.report.render import render_report

        return render_report(self)
