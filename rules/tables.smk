# A table, its picture and the numbers for `dvc metrics`. The marker is new when what is there is not what specs ask for.
rule render:
    input:
        table_inputs,
        marker=".mimflow/markers/{table}",
    output:
        # `update`: an interrupted render leaves the old table whole.
        update(multiext("results/{table}", ".md", ".tex", ".csv", ".png", ".manifest.json")),
    log:
        ".mimflow/logs/{table}.log",
    conda:
        "environment.yaml"
    shell:
        "exec python -m mimflow render {wildcards.table:q} 2> >(tee -a {log:q} >&2)"
