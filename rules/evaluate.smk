# Metrics of samples under a protocol.
rule evaluate:
    input:
        inputs,
    output:
        "results/store/evaluations/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    shell:
        "exec mimflow evaluate {wildcards.job:q}"
