# Images of a data set, cut, split and written once.
rule prepare:
    input:
        inputs,
    output:
        "results/store/data/{job}/manifest.json",
    log:
        ".mimflow/logs/{job}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow prepare {wildcards.job:q} 2> >(tee -a {log:q} >&2)"
