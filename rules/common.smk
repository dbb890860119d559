# Functions that the rules share. The plan knows the jobs; nothing is decided here.
# `conda: "mimflow"` in the rules names an environment of yours; it counts with --software-deployment-method conda only.


def names(values):
    """A wildcard constraint: one of these names and nothing else."""
    return "|".join(map(re.escape, sorted(values))) or "none"


# Names are slugs, checked when specs are read: they can't leave a folder or reach a shell unquoted.
wildcard_constraints:
    job=names(PLAN.jobs),
    table=names(PLAN.tables),


def job(wildcards):
    return PLAN.jobs[wildcards.job]


def inputs(wildcards):
    """The manifests of what a job reads. Keyed paths are never stale, so their times do not matter."""
    return [ancient(upstream.manifest) for upstream in job(wildcards).inputs.values()]


def table_inputs(wildcards):
    return [ancient(job.manifest) for job in PLAN.tables[wildcards.table].jobs()]


def gpus(wildcards):
    return resources_of(job(wildcards))["gpu"]


def job_threads(wildcards):
    return resources_of(job(wildcards))["threads"]
