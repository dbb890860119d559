# What a trained system gives: samples, reconstructions, a representation.
rule infer:
    input:
        inputs,
    output:
        "results/store/outputs/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    log:
        ".mimflow/logs/{job}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow infer {wildcards.job:q} 2> >(tee -a {log:q} >&2)"
