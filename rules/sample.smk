# Images drawn from a trained system.
rule sample:
    input:
        inputs,
    output:
        "results/store/samples/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    log:
        ".mimflow/logs/{job}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow sample {wildcards.job:q} 2> >(tee -a {log:q} >&2)"
