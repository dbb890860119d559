# Products: tables and whatever else is rendered from results. The marker is new when what is there is not what specs
# ask for.


# All that are a table, a figure or a claim of a paper, at laptop scale.
rule papers:
    input:
        lambda wildcards: WORKFLOW.paper_targets(),


for kind in WORKFLOW.product_kinds:

    rule:
        name:
            f"render_{kind.name}"
        input:
            lambda wildcards: map(ancient, WORKFLOW.product_inputs(wildcards.product)),
            marker=".mimflow/markers/{product}",
        output:
            # `update`: Snakemake leaves the old files, which the render replaces one by one, the record last.
            update(
                [
                    report(
                        f"results/{{product}}.{suffix}",
                        caption="product.rst",
                        category=f"{kind.name.removesuffix('s').capitalize()}s",
                        subcategory="{product}",
                        labels={"file": suffix},
                    )
                    for suffix in kind.suffixes
                ]
            ),
            update("results/{product}.manifest.json"),
        wildcard_constraints:
            product=WORKFLOW.names_of(kind),
        message:
            f"render {kind.name} {{wildcards.product}}"
        log:
            ".mimflow/logs/{product}.log",
        conda:
            "environment.yaml"
        localrule: True
        shell:
            f"exec python -m mimflow render {{wildcards.product:q}} {TO_LOG}"
