# One phase of one run with one seed.
rule train:
    input:
        inputs,
    output:
        "results/store/checkpoints/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    log:
        ".mimflow/logs/{job}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow train {wildcards.job:q} 2> >(tee -a {log:q} >&2)"
