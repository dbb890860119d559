# `conda: "mimflow"` in the rules names an environment of yours; it counts with --software-deployment-method conda only.


# Names are slugs, checked when specs are read: they can't leave a folder or reach a shell unquoted.
wildcard_constraints:
    job=names(PLAN.jobs),
    table=names(PLAN.tables),


def job(wildcards):
    return PLAN.jobs[wildcards.job]


def inputs(wildcards):
    """The manifests of what a job reads. Keyed paths are never stale, so their times do not matter."""
    return [ancient(upstream.manifest) for upstream in job(wildcards).inputs.values()]


def gpus(wildcards):
    return resources_of(job(wildcards))["gpu"]


def job_threads(wildcards):
    return resources_of(job(wildcards))["threads"]
