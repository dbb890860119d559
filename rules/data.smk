# Images of a data set, cut, split and written once.
rule prepare:
    input:
        inputs,
    output:
        "results/store/data/{job}/manifest.json",
    shell:
        "exec mimflow prepare {wildcards.job:q}"
