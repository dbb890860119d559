# Metrics of samples under a protocol.
rule evaluate:
    input:
        inputs,
    output:
        "results/store/evaluations/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    log:
        ".mimflow/logs/{job}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow evaluate {wildcards.job:q} 2> >(tee -a {log:q} >&2)"
