# The stages: one rule each, alike but for their names. The plan knows what a job reads; nothing is decided here.

from mimflow.executor import executor_name, launch, partition_of, signed
from mimflow.plan.paths import FOLDERS, SHARDED


wildcard_constraints:
    job="[0-9a-f]{16}",
    attempt="[0-9a-f]{16}",
    shard="[0-9]+-of-[0-9]+",


for stage, folder in FOLDERS.items():

    rule:
        name:
            stage
        input:
            # Keyed paths are never stale, so their times do not matter.
            signed(lambda wildcards: map(ancient, WORKFLOW.job_inputs(wildcards.job))),
        output:
            f"results/store/{folder}/{{job}}/manifest.json",
        params:
            stage=stage,
            name=signed(lambda wildcards: WORKFLOW.name(wildcards.job)),
            launch=signed(lambda wildcards, threads, resources: launch(threads, resources)),
        threads: signed(lambda wildcards: WORKFLOW.threads(wildcards.job))
        resources:
            gpu=signed(
                lambda wildcards, rule=stage: WORKFLOW.gpus(
                    wildcards.job, executor_name(workflow), partition_of(workflow.resource_settings, rule)
                )
            ),
            mem_mb=signed(lambda wildcards: WORKFLOW.memory_mb(wildcards.job)),
        # The longest chain of jobs first: the last one is done the sooner.
        priority: signed(lambda wildcards: WORKFLOW.priority(wildcards.job))
        message:
            "{params.stage} {params.name}"
        log:
            ".mimflow/logs/{job}.log",
        conda:
            "environment.yaml"
        shell:
            f"exec {{params.launch}}python -m mimflow {{params.stage}} {{wildcards.job:q}} --planned {TO_LOG}"


# With `--config shards=8` eight jobs draw the pieces of one, which then puts them together.
for stage in SHARDED:

    rule:
        name:
            f"{stage}_shard"
        input:
            signed(lambda wildcards: map(ancient, WORKFLOW.shard_inputs(wildcards.job))),
        output:
            touch(f".mimflow/work/{{job}}/{{attempt}}/{stage}.{{shard}}"),
        params:
            stage=stage,
            name=signed(lambda wildcards: WORKFLOW.name(wildcards.job)),
            shard=signed(lambda wildcards: wildcards.shard.replace("-of-", "/")),
        threads: signed(lambda wildcards: WORKFLOW.threads(wildcards.job))
        resources:
            gpu=signed(
                lambda wildcards, rule=stage: WORKFLOW.gpus(
                    wildcards.job, executor_name(workflow), partition_of(workflow.resource_settings, rule)
                )
            ),
            mem_mb=signed(lambda wildcards: WORKFLOW.memory_mb(wildcards.job)),
        priority: signed(lambda wildcards: WORKFLOW.priority(wildcards.job))
        message:
            "{params.stage} {params.name} {params.shard}"
        log:
            ".mimflow/logs/{job}.{attempt}.{shard}.log",
        conda:
            "environment.yaml"
        shell:
            "exec python -m mimflow {params.stage} {wildcards.job:q} --planned"
            f" --shard {{params.shard:q}} {TO_LOG}"
