"""From specs to products: `snakemake --cores all results/table1.md`. Wiring only: the plan knows the jobs."""

import re
from pathlib import Path

from snakemake.utils import min_version

from mimflow.plan.paths import FOLDERS
from mimflow.workflow import open_workflow

min_version("9.0")

WORKFLOW = open_workflow(
    Path.cwd(),
    main_process=workflow.is_main_process,
    recompute=config.get("recompute", False),
)


# What `snakemake` makes when it is asked for nothing: the products that say so.
rule all:
    input:
        lambda wildcards: WORKFLOW.default_targets(),


include: "rules/stages.smk"
include: "rules/products.smk"
