"""The one file of a report."""

from __future__ import annotations

from mimflow.products.report.around import made, missing, protocols, rendered_by
from mimflow.products.report.product import TEMPLATES, ReportProduct
from mimflow.products.report.sections import sections
from mimflow.products.templates import own_template


def render_report(report: ReportProduct) -> dict[str, bytes]:
    """The file by its path, with the results that are there. ArtifactError for corrupt ones."""
    lacking, cost = missing(report)
    text = own_template(TEMPLATES / "report.html.j2").render(
        report=report,
        chapters=list(sections(report.included)),
        protocols=list(protocols(report)),
        missing=lacking,
        cost=cost,
        made=made(report),
        rendered_by=rendered_by(report),
    )
    return {report.files[0]: text.encode()}
