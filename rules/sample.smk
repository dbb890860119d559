# Images drawn from a trained system.
rule sample:
    input:
        inputs,
    output:
        "results/store/samples/{job}/manifest.json",
    threads: job_threads
    resources:
        gpu=gpus,
    shell:
        "exec mimflow sample {wildcards.job:q}"
