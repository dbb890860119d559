# The stages: one rule each, alike but for their names. The plan knows what a job reads; nothing is decided here.


wildcard_constraints:
    job="[0-9a-f]{16}",


for stage, folder in FOLDERS.items():

    rule:
        name:
            stage
        input:
            # Keyed paths are never stale, so their times do not matter.
            lambda wildcards: map(ancient, WORKFLOW.job_inputs(wildcards.job)),
        output:
            f"results/store/{folder}/{{job}}/manifest.json",
        params:
            stage=stage,
            name=lambda wildcards: WORKFLOW.name(wildcards.job),
        threads: lambda wildcards: WORKFLOW.threads(wildcards.job)
        resources:
            gpu=lambda wildcards: WORKFLOW.gpus(wildcards.job, workflow.executor_plugin.name),
        # The longest chain of jobs first: the last one is done the sooner.
        priority: lambda wildcards: WORKFLOW.priority(wildcards.job)
        message:
            "{params.stage} {params.name}"
        log:
            ".mimflow/logs/{job}.log",
        conda:
            "environment.yaml"
        # What a job says when it is asked to stop is logged, too, where all processes of a group are.
        shell:
            "exec python -m mimflow {params.stage} {wildcards.job:q} --planned"
            " 2> >(trap '' HUP INT TERM; tee -a {log:q} >&2)"
