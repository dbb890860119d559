"""From specs to products: `snakemake --cores all results/table1.md`. Wiring only: the plan knows the jobs."""

import sys
from pathlib import Path

# Snakemake looks in the project's folder first: a random.py there would be taken for Python's.
sys.path.append(sys.path.pop(0))

from snakemake.utils import min_version

from mimflow.executor import executor_name
from mimflow.terminal import begin_lines, to_log
from mimflow.workflow import open_workflow

min_version("9.0")

WORKFLOW = open_workflow(
    Path.cwd(),
    main_process=workflow.is_main_process,
    recompute=config.get("recompute", False),
    shards=config.get("shards", 1),
    settings=config,
)
TO_LOG = to_log()


onstart:
    WORKFLOW.begin(executor_name(workflow))
    begin_lines()


# What `snakemake` makes when it is asked for nothing: the products that say so.
rule all:
    input:
        lambda wildcards: WORKFLOW.default_targets(),


include: "rules/stages.smk"
include: "rules/products.smk"
