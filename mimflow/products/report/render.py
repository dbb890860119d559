"""The one file of a report."""

from __future__ import annotations

import jinja2

from mimflow.products.report.around import made, missing, protocols, rendered_by
from mimflow.products.report.product import TEMPLATES, ReportProduct
from mimflow.products.report.sections import sections


def render_report(report: ReportProduct) -> dict[str, bytes]:
    """The file by its path, with the results that are there. ArtifactError for corrupt ones."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    lacking, cost = missing(report)
    text = environment.get_template("report.html.j2").render(
        report=report,
        chapters=list(sections(report.included)),
        protocols=list(protocols(report)),
        missing=lacking,
        cost=cost,
        made=made(report),
        rendered_by=rendered_by(report),
    )
    return {report.files[0]: text.encode()}
