"""Stages: where the parts are wired together, one pure function a job. `mimflow.stages.runner` runs them."""
