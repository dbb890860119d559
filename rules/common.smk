# Functions that the rules share. The plan knows the jobs; nothing is decided here.


def names(values):
    """A wildcard constraint: one of these names and nothing else."""
    return "|".join(map(re.escape, sorted(values))) or "none"


# Names are slugs, checked when specs are read: they can't leave a folder or reach a shell unquoted. (For jobs a list of
# all names would do too, but a thousand of them cost Snakemake a second.)
wildcard_constraints:
    job="[a-z0-9_.-]+-[0-9a-f]{12}",
    table=names(PLAN.tables),


def inputs(wildcards):
    """The manifests of what a job reads. Keyed paths are never stale, so their times do not matter."""
    job = PLAN.jobs.get(wildcards.job)
    if job is None:
        # An input that nothing makes: Snakemake says so in a line, where an exception would be a traceback.
        return [f"no spec asks for the job {wildcards.job}"]
    return [ancient(upstream.manifest) for upstream in job.inputs.values()]


def table_inputs(wildcards):
    return [ancient(job.manifest) for job in PLAN.tables[wildcards.table].jobs()]


def gpus(wildcards):
    return resources_of(PLAN.jobs.get(wildcards.job))["gpu"]


def job_threads(wildcards):
    return resources_of(PLAN.jobs.get(wildcards.job))["threads"]
