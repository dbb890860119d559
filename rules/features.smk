# What a frozen network makes of every image of a data set.
rule features:
    input:
        inputs,
    output:
        "results/store/features/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    log:
        ".mimflow/logs/{job}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow features {wildcards.job:q} 2> >(tee -a {log:q} >&2)"
