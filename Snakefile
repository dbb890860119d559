"""From specs to tables: `snakemake --cores all results/table1.md`. Wiring only: the plan knows the jobs."""

import re
from pathlib import Path

from snakemake.utils import min_version

from mimflow.plan.snakemake import open_plan, resources as resources_of

min_version("9.0")

PLAN = open_plan(
    Path.cwd(),
    main_process=workflow.is_main_process,
    recompute=config.get("recompute", False),
)


# What `snakemake` makes when it is asked for nothing.
rule all:
    input:
        "results/table1.md",


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/features.smk"
include: "rules/train.smk"
include: "rules/infer.smk"
include: "rules/evaluate.smk"
include: "rules/tables.smk"

