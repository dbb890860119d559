"""The specs that ship: they validate, fit their schemas, and have the papers' sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from projects import REPOSITORY, cli

from mimflow.errors import ArtifactError, PlanError
from mimflow.plan.build import Plan
from mimflow.products.registry import PRODUCTS, open_plan
from mimflow.project.kinds import Kind
from mimflow.project.schemas import schema
from mimflow.project.workspace import KINDS
from mimflow.spec.reader import read
from mimflow.system.modules import SystemModules, parameter_count
from mimflow.system.spec import Shapes
from mimflow.tasks import InferTask
from mimflow.weights.given import given_file

ALL = {kind.name: kind for kind in (*KINDS, *PRODUCTS)}
PAIRS = [
    pytest.param(kind, file, id=file.relative_to(REPOSITORY / "specs").as_posix())
    for kind in ALL.values()
    for folder in kind.folders
    for file in sorted((REPOSITORY / "specs" / folder).glob("*.yaml"))
]


def shipped(kind: Kind) -> dict[str, Any]:
    """The schema that editors read: it is current, as a test says."""
    found: dict[str, Any] = json.loads((REPOSITORY / f"specs/schemas/{kind.name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def plan() -> Plan:
    return open_plan(REPOSITORY)


@pytest.mark.parametrize(("kind", "file"), PAIRS)
def test_a_shipped_spec_fits_its_schema_and_names_it(kind: Kind, file: Path) -> None:
    validator = jsonschema.Draft202012Validator(shipped(kind))
    assert [error.message for error in validator.iter_errors(read(file, str(file)).plain())] == []
    assert file.read_text().splitlines()[0] == f"# yaml-language-server: $schema=../schemas/{kind.name}.json"


@pytest.mark.parametrize("kind", ALL.values(), ids=list(ALL))
def test_the_schemas_that_ship_are_current(kind: Kind) -> None:
    assert shipped(kind) == schema(kind), "run `mimflow schema`"
    jsonschema.Draft202012Validator.check_schema(shipped(kind))


def test_a_schema_refuses_what_validation_refuses_and_describes_fields() -> None:
    validator = jsonschema.Draft202012Validator(shipped(ALL["run"]))
    run = read(REPOSITORY / "specs/systems/tarflow-imagenet64-cond.yaml", "x").plain()
    assert validator.is_valid(run)
    assert not validator.is_valid(run | {"colour": 1})
    assert not validator.is_valid(run | {"prior": run["prior"] | {"widht": 1}})
    assert not validator.is_valid(run | {"prior": run["prior"] | {"width": "768"}})
    assert not validator.is_valid({key: value for key, value in run.items() if key != "dataset"})
    assert validator.is_valid({"extends": "x.yaml", "prior": {"width": 3}})
    assert not validator.is_valid({"extends": "x.yaml", "prior": {"widht": 3}})
    assert (
        schema(ALL["run"])["$defs"]["TarflowSpec"]["properties"]["width"]["description"] == "Width of the transformers."
    )


PARAMETERS = {
    "tarflow-imagenet64-uncond": 460.1,
    "tarflow-imagenet64-bpd": 460.1,
    "tarflow-imagenet64-cond": 466.3,
    "tarflow-imagenet128": 823.9,
    "tarflow-afhq256": 463.5,
    "tarflow-afhq256-released": 463.5,
    "itarflow-imagenet64": 771.4,
    "itarflow-imagenet128": 1202.5,
    "itarflow-imagenet256": 2220.7,
    "mimflow-l": 611.0,
    "mimflow-l-dinov2": 611.0,
    "mimflow-l-gated": 646.7,
    "mimflow-l-probe": 611.0,
    "mimflow-l-masks-per-sample": 611.0,
    "mimflow-l-clean-alignment": 611.0,
    "mimflow-b": 263.1,
    "mimflow-s": 67.8,
    "kl-vae-f16-d16": 66.46,
    "kl-vae-f16-d32": 66.68,
    "kl-vae-f16-d64": 67.14,
    "kl-vae-f16-d64-fixed": 67.13,
    "kl-vae-f16-d64-fixed-ln": 67.13,
    "kl-vae-f16-d128": 68.09,
    "starflow-imagenet256": 1495.9,
    "starflow-imagenet256-denoised": 1495.9,
    "starflow-imagenet512": 1495.9,
    "simflow-s": 104.17,
    "simflow-b": 208.44,
    "simflow-l": 541.99,
    "simflow-xl": 762.44,
    "simflow-xxl": 1431.78,
    "simflow-xxl-learnable": 1431.79,
    "simflow-xxl-mimflow-losses": 1431.78,
    "simflow-xxl-36": 1192.73,
    "simflow-xxl-512": 1437.09,
    "simflow-repa-e": 1431.78,
    "simflow-repa-e-512": 1437.09,
    "simflow-xxl-80": 1431.78,
    "simflow-xxl-100k": 1431.78,
    "simflow-repa-e-80": 1431.78,
    "simflow-xxl-variants-vae-learnable": 1431.79,
    "simflow-xxl-variants-fixed": 1431.78,
    "sit-s-2": 116.5,
    "sit-b-2": 214.0,
    "sit-l-2": 541.5,
    "sit-xl-2": 758.5,
    "sit-xl-2-released": 758.5,
    "sit-xl-1-d32-frozen": 744.7,
    "sit-xl-1-d64-frozen": 745.2,
    "sit-xl-1-d32-joint": 744.7,
    "sit-xl-1-d64-joint": 745.2,
    "sit-xl-1-d64-joint-80": 745.2,
}
"""Millions; TARFlow's and iTARFlow's as their code has them, MIMFlow's as its sheet's parts add up, the KL-VAE's from
MAR's, and those of systems are their parts' sums. SiT alone has 32.9, 130.3, 457.8 and 674.8, the paper's sizes; 674.9
with single tokens."""


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.slow
def test_systems_have_the_papers_parameters(plan: Plan, name: str) -> None:
    run = plan.workspace.runs[name].spec
    shapes = Shapes.of(plan.workspace.datasets[run.dataset].spec)
    with torch.device("meta"):
        modules = SystemModules(run.system, shapes)
    assert parameter_count(modules) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.05)


FLOWS = {"s": 37, "b": 141, "l": 475, "xl": 695, "xxl": 1365, "xxl-80": 1365, "xxl-36": 1126, "repa-e": 1365}


@pytest.mark.parametrize("size", FLOWS)
@pytest.mark.slow
def test_simflows_flows_have_the_papers_parameters(plan: Plan, size: str) -> None:
    run = plan.workspace.runs[f"simflow-{size}"].spec
    with torch.device("meta"):
        modules = SystemModules(run.system, Shapes.of(plan.workspace.datasets[run.dataset].spec))
    assert round(parameter_count(modules.prior) / 1e6) == FLOWS[size]


JOINT = ["simflow-s", "simflow-xxl", "simflow-xxl-512", "simflow-repa-e", "simflow-xxl-variants-fixed"]
JOINT += ["sit-xl-1-d32-joint", "sit-xl-1-d64-joint-80"]


@pytest.mark.parametrize("name", JOINT)
def test_simflows_losses_are_repa_es_family(plan: Plan, name: str) -> None:
    for phase in plan.workspace.runs[name].spec.phases.values():
        objective = phase.objective
        pixels, discriminator = objective.reconstruction, objective.adversarial
        assert (pixels.weight, pixels.loss, pixels.range) == (1.0, "l1", "signed")
        assert [(term.kind, term.weight) for term in objective.perceptual] == [("lpips", 1.0)]
        assert (discriminator.weight, discriminator.start, discriminator.initialisation) == (0.1, 0.0, "normal")
        assert not discriminator.adaptive and not discriminator.lecam


def test_mimflow_l_with_gates_has_a_matrix_more_in_each_layer_of_the_flow(plan: Plan) -> None:
    run = plan.workspace.runs["mimflow-l-gated"].spec
    with torch.device("meta"):
        modules = SystemModules(run.system, Shapes.of(plan.workspace.datasets[run.dataset].spec))
    assert parameter_count(modules.prior) == 439_094_272 + 34 * 1024**2  # 474.7 million


def test_mimflow_l_has_the_papers_parts(plan: Plan) -> None:
    run = plan.workspace.runs["mimflow-l"].spec
    with torch.device("meta"):
        modules = SystemModules(run.system, Shapes.of(plan.workspace.datasets[run.dataset].spec))
    assert parameter_count(modules.prior) / 1e6 == pytest.approx(439.1, abs=0.05)
    for half in (modules.tokenizer.encoder, modules.tokenizer.decoder):
        assert parameter_count(half.vit) / 1e6 == pytest.approx(85.1, abs=0.05)


def test_every_system_of_a_paper_says_what_to_expect() -> None:
    for file in (REPOSITORY / "specs/systems").glob("*.yaml"):
        header = "\n".join(line for line in file.read_text().splitlines() if line.startswith("#"))
        assert "Expect" in header or "No published" in header, file.name
        assert " M parameters" in header, file.name


@pytest.mark.slow
def test_every_jointly_trained_system_has_an_oracle(plan: Plan) -> None:
    """With the noise of its training: what a perfect prior would get."""
    joint = {
        name: [phase.objective for phase in loaded.spec.phases.values() if phase.objective.kind == "joint"]
        for name, loaded in plan.workspace.runs.items()
    }
    trained = {name: objectives for name, objectives in joint.items() if objectives}
    assert {"simflow-mnist5k", "sit-mnist5k", "mimflow-mnist5k", "mimflow-photos"} <= trained.keys()
    for name, objectives in trained.items():
        outputs = plan.workspace.runs[name].spec.outputs.values()
        noises = [output.noise for output in outputs if output.kind == "oracle"]
        assert any(objective.noise in noises for objective in objectives), name


def test_explain_shows_origins_and_diff_shows_fields() -> None:
    explained = cli(REPOSITORY, "explain", "tarflow-mnist5k")
    lines = {line.split(":")[0].strip(): line for line in explained.splitlines()}
    assert "# specs/mini/tarflow-mnist5k.yaml:" in lines["width"]
    assert "# specs/systems/tarflow-imagenet64-cond.yaml:" in lines["label_drop"]
    assert lines["expansion"].endswith("# default")
    compared = cli(REPOSITORY, "diff", "tarflow-imagenet64-cond", "tarflow-imagenet128")
    assert "tokenizer.patch_size" in compared and "2 → 4" in compared and "prior.width" in compared


@pytest.mark.slow
def test_validate_names_files_and_problems() -> None:
    assert cli(REPOSITORY, "validate", "tarflow-mnist5k") == "valid: specs/mini/tarflow-mnist5k.yaml\n"
    with pytest.raises(PlanError, match=r"did you mean 'tarflow-mnist5k'\?"):
        cli(REPOSITORY, "validate", "tarflow-mnist5")


RELEASED = {
    "tarflow-afhq256-released": ("unguided", "weights/tarflow-afhq256/weights.safetensors"),
    "sit-xl-2-released": ("guided", "weights/sit-xl-2/weights.safetensors"),
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_checkpoint_draws_without_images_and_without_training(plan: Plan, name: str) -> None:
    output, file = RELEASED[name]
    protocol = next(iter(plan.workspace.protocols.values())).spec
    job = plan.infer(name, output, protocol, 0)
    assert job.inputs == {}
    assert isinstance(job.task, InferTask) and [weights.file for weights in job.task.weights or []] == [file]
    with pytest.raises(ArtifactError, match=rf"{file}: missing: put the weights of a run without training there"):
        given_file(job.task.weights[0], "the weights of a run without training")
