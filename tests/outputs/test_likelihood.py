"""Likelihoods of a split's images: of known densities, in known units, and untouched by sampling."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import new_project
from scipy.stats import multivariate_normal
from specs_project import FLOW, KL_VAE, make_specs, problems, write
from training_parts import GAUSSIAN, MASKED_AE, SHAPES, TARFLOW, perturbed_modules, tiny_data
from training_parts import KL_VAE as KL_VAE_SYSTEM

from mimflow.artifacts.facts import plain, read_facts
from mimflow.artifacts.likelihood import LikelihoodFacts, read_likelihood
from mimflow.artifacts.metrics import read_metrics
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Prepared
from mimflow.metrics.likelihood import Densities, likelihood, likelihood_check
from mimflow.metrics.likelihood_spec import LikelihoodCheckSpec, LikelihoodMetricSpec
from mimflow.outputs.base import Setting
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.inverse.output import InverseSampler
from mimflow.outputs.likelihood.output import Likelihoods
from mimflow.outputs.likelihood.spec import LikelihoodSpec
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_plan
from mimflow.progress import Progress
from mimflow.project.workspace import Workspace
from mimflow.stages.runner import run_job
from mimflow.system.modules import SystemModules

ITARFLOW = TARFLOW | {"prior": TARFLOW["prior"] | {"kind": "itarflow"}}
LEVELS = {"kind": "levels", "t0": 0.1, "t1": 0.3, "steps": 3}
GAUSSIAN_NOISE = {"kind": "gaussian", "std": 0.5}


def setting_of(modules: SystemModules, work: Path, batch_size: int = 5) -> Setting:
    """A system and twelve images in its val split."""
    data = tiny_data(work / "data")
    return Setting(
        shapes=SHAPES,
        drawing=Drawing(batch_size=batch_size),
        seed=0,
        modules=modules.eval(),
        weights="weights.safetensors",
        data=Prepared.open(data),
        device=torch.device("cpu"),
        work=work,
        progress=Progress("infer", stream=io.StringIO()),
        job="0" * 64,
    )


def measured(modules: SystemModules, work: Path, **fields: object) -> tuple[Setting, LikelihoodFacts, Densities]:
    setting = setting_of(modules, work)
    facts = Likelihoods(LikelihoodSpec.model_validate(fields)).write(setting)
    return setting, facts, Densities(facts, **read_likelihood(work / "out/likelihood.npz"))


def numbers(given: Densities) -> dict[str, float | None]:
    return {name: found.value for name, found in likelihood(LikelihoodMetricSpec(), given).items()}


def images_of(setting: Setting) -> torch.Tensor:
    return to_unit(setting.split("val").images)


# -- against what is known -------------------------------------------------------------------------------------------


def test_a_gaussian_has_the_density_that_scipy_computes(tmp_path: Path) -> None:
    """Each class its own mean and covariance, and the image's own class; latents without noise."""
    modules, random = perturbed_modules(GAUSSIAN), np.random.default_rng(3)
    means = random.normal(size=(4, 64))
    factors = np.tril(0.1 * random.normal(size=(4, 64, 64))) + 2 * np.eye(64)
    modules.prior.load_state_dict(
        {"mean": torch.from_numpy(means).float(), "cholesky": torch.from_numpy(factors).float()}
    )
    setting, facts, found = measured(modules, tmp_path, noise={"kind": "none"})
    latents = modules.tokenizer.encode(images_of(setting)).flatten(1).double().numpy()
    labels = setting.split("val").labels
    expected = [
        multivariate_normal(means[label], factors[label] @ factors[label].T).logpdf(x)
        for x, label in zip(latents, labels, strict=True)
    ]
    np.testing.assert_allclose(found.log_likelihood[:, 0], expected, rtol=1e-5)
    got = numbers(found)
    assert got["nll"] == pytest.approx(-np.mean(expected) / 64, rel=1e-5)
    assert got["rate"] is got["bpd"] is got["nll_lowest"] is None and got["distortion"] == 0.0
    assert (facts.count, facts.dimensions, facts.pixels) == (12, 64, 64)


def test_bits_per_dimension_are_those_of_tarflows_protocol(tmp_path: Path) -> None:
    """[½ mean z² + ½ log 2π + log 128 − ld] / log 2, ld the log-determinant per dimension (`evaluate_bpd.py`)."""
    modules = perturbed_modules(TARFLOW)
    setting, _, found = measured(modules, tmp_path, noise={"kind": "uniform"})
    noise = setting.draws(range(12)).uniform(1, 8, 8)
    grey = torch.from_numpy(np.array(setting.split("val").images)).permute(0, 3, 1, 2)
    dequantised = (grey + noise) / 128 - 1
    with torch.no_grad():
        z, logdet, _ = modules.prior(
            modules.tokenizer.encode(dequantised), torch.from_numpy(setting.split("val").labels)
        )
    per_image = 0.5 * z.square().flatten(1).mean(1) + 0.5 * math.log(2 * math.pi) + math.log(128) - logdet / 64
    got = numbers(found)
    assert got["bpd"] == pytest.approx(float(per_image.mean()) / math.log(2), rel=1e-5)
    assert got["rate_bits"] == pytest.approx(got["bpd"]), "a level's noise is taken off, and latents are pixels"


def test_what_is_uniform_takes_eight_bits() -> None:
    """A density of ½ on [−1, 1] says nothing of 8-bit images."""
    facts = LikelihoodFacts(3, "val", "uniform", 10, 10, "", "weights.safetensors", "cpu", 0.0)
    given = Densities(
        facts, np.full((3, 1), 10 * math.log(0.5)), np.full((3, 1), -10 * math.log(128)), np.zeros((3, 1))
    )
    assert numbers(given)["bpd"] == pytest.approx(8.0)


def test_the_entropy_of_the_noise_is_taken_off(tmp_path: Path) -> None:
    """½ log 2πe σ² is 0.7258 nats at σ = 0.5; of pixels under noise the distortion is its variance."""
    modules = perturbed_modules(TARFLOW)
    _, _, found = measured(modules, tmp_path, noise=GAUSSIAN_NOISE, split="train")
    got = numbers(found)
    assert got["nll"] - got["rate"] == pytest.approx(0.7258, abs=5e-5)
    assert got["distortion"] == pytest.approx(0.25, rel=0.05)
    assert got["rate_bits"] == pytest.approx(got["rate"] / math.log(2))


def test_a_draw_from_the_posterior_is_noise_too(tmp_path: Path) -> None:
    """The entropy of a KL-VAE's scaled draws under noise on top is torch's, of the sum of both variances."""
    system = KL_VAE_SYSTEM | {"tokenizer": KL_VAE_SYSTEM["tokenizer"] | {"scale": 0.5}}
    modules = perturbed_modules(system)
    setting, facts, found = measured(modules, tmp_path, noise=GAUSSIAN_NOISE)
    with torch.no_grad():
        posterior = modules.tokenizer.posterior(images_of(setting))
    std = (0.25 * posterior.log_variance.exp() + 0.25).sqrt()
    expected = torch.distributions.Normal(0.0, std).entropy().flatten(1).sum(1)
    np.testing.assert_allclose(found.noise_entropy[:, 0], expected.numpy(), rtol=1e-5)
    assert (facts.dimensions, facts.pixels) == (32, 64)


def test_a_density_at_each_noise_level(tmp_path: Path) -> None:
    modules = perturbed_modules(ITARFLOW)
    setting, facts, found = measured(modules, tmp_path, noise={"kind": "levels", "t": [0.1, 0.2, 0.3]})
    latents = modules.tokenizer.encode(images_of(setting))
    unit = setting.draws(range(12)).normal(*latents.shape[1:])
    labels = torch.from_numpy(setting.split("val").labels)
    with torch.no_grad():
        expected = [modules.prior.at(t).log_prob(latents + t * unit, labels) for t in (0.1, 0.2, 0.3)]
    np.testing.assert_allclose(found.log_likelihood, torch.stack(expected, 1).numpy(), rtol=1e-5)
    got = numbers(found)
    ends = [-float(each.mean()) / 64 for each in expected]
    assert [got["nll_lowest"], got["nll_highest"]] == pytest.approx([ends[0], ends[-1]], rel=1e-5)
    assert got["nll"] == pytest.approx(np.mean(ends), rel=1e-5)
    assert facts.levels == [0.1, 0.2, 0.3]


def test_without_a_class_the_density_is_the_null_classs(tmp_path: Path) -> None:
    modules = perturbed_modules(TARFLOW)
    setting, _, found = measured(modules, tmp_path, noise={"kind": "none"}, conditional=False)
    with torch.no_grad():
        latents = modules.tokenizer.encode(images_of(setting))
        expected = modules.prior.log_prob(latents, torch.full((12,), -1))
    np.testing.assert_allclose(found.log_likelihood[:, 0], expected.numpy(), rtol=1e-5)


def test_a_likelihood_that_is_not_finite_is_a_reason() -> None:
    facts = LikelihoodFacts(2, "val", "none", 4, 4, "", "weights.safetensors", "cpu", 0.0)
    given = Densities(facts, np.array([[np.inf], [0.0]]), np.full((2, 1), np.nan), np.zeros((2, 1)))
    found = likelihood(LikelihoodMetricSpec(), given)
    assert {each.reason for each in found.values()} == {"log-likelihoods of 1 of 2 images are not finite"}


# -- the falsifier ---------------------------------------------------------------------------------------------------

CHECKED = {"noise": {"kind": "levels", "t": [0.1, 0.3]}, "check": {"count": 7, "denoise": LEVELS}}


def test_sampling_has_no_hand_in_it(tmp_path: Path) -> None:
    _, facts, found = measured(perturbed_modules(ITARFLOW), tmp_path, **CHECKED)
    values = {name: each.value for name, each in likelihood_check(LikelihoodCheckSpec(), found).items()}
    assert values["denoiser_effect"] == values["changed_tensors"] == 0.0, "to the bit"
    assert 0 < values["round_trip"] < 1e-4 and 0 < values["round_trip_noise"] < 1e-4
    assert facts.check.count == 7 and facts.parameters == facts.parameters_after
    plain(facts)


def test_a_sampler_that_touches_the_flow_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: what leaves a trace on a parameter changes digest and likelihood."""

    def sample(self: InverseSampler, tokenizer: object, prior: torch.nn.Module, *rest: object) -> None:
        with torch.no_grad():
            next(prior.parameters()).add_(0.01)

    monkeypatch.setattr(InverseSampler, "sample", sample)
    _, facts, found = measured(perturbed_modules(ITARFLOW), tmp_path, **CHECKED)
    values = {name: each.value for name, each in likelihood_check(LikelihoodCheckSpec(), found).items()}
    assert values["denoiser_effect"] > 0 and values["changed_tensors"] == 1.0
    assert facts.parameters != facts.parameters_after


def test_what_was_not_asked_for_is_a_reason(tmp_path: Path) -> None:
    _, _, found = measured(perturbed_modules(MASKED_AE), tmp_path, noise=GAUSSIAN_NOISE)
    reasons = {each.reason for each in likelihood_check(LikelihoodCheckSpec(), found).values()}
    assert reasons == {"the output was not asked for a check"}


# -- what is refused -------------------------------------------------------------------------------------------------

OUTPUTS = "outputs: {density: {kind: likelihood, ema: false, noise: NOISE}}\n"
OF_LEVELS = FLOW.replace("kind: tarflow", "kind: itarflow").replace(
    "{kind: gaussian, std: 0.2}", "{kind: levels, t0: 0.1, t1: 0.4}"
)
OF_LATENTS = FLOW.replace("{kind: pixel, patch_size: 2}", KL_VAE.replace(", weights: WEIGHTS", "")).replace(
    "  main:\n", "  main:\n    trains: [prior]\n"
)
VELOCITY = FLOW.replace(
    "kind: tarflow, width: 16, head_width: 8, blocks: [1, 1]", "kind: sit, width: 16, layers: 1, head_width: 8"
).replace("{kind: nll, noise: {kind: gaussian, std: 0.2}}", "{kind: velocity}")
LEFT = "outputs.density."


@pytest.mark.parametrize(
    ("run", "noise", "expected"),
    [
        (FLOW, "{kind: gaussian, std: 0.2}", None),
        (OF_LEVELS, "{kind: levels, t: [0.1, 0.2, 0.4]}", None),
        (FLOW.replace("gaussian, std: 0.2", "uniform"), "{kind: uniform}", None),
        (
            FLOW,
            "{kind: uniform}",
            "noise: bits per dimension are of grey levels, and the prior was trained under noise (gaussian, std 0.2) "
            "(leave it out: that of the training)",
        ),
        (
            FLOW,
            "{kind: gaussian, std: 0.1}",
            "noise: the prior was trained under noise (gaussian, std 0.2): its density is of no other latents "
            "(leave it out: that of the training)",
        ),
        (
            FLOW.replace("gaussian, std: 0.2", "uniform"),
            "{kind: none}",
            "noise: the prior was trained under noise (uniform): its density is of no other latents (leave it out: that of the training)",
        ),
        (
            OF_LATENTS,
            "{kind: uniform}",
            "noise.kind: the latents are no pixels of 256 grey levels: bits per dimension mean nothing "
            "(that of the training, for nats per dimension)",
        ),
        (
            VELOCITY,
            "{kind: none}",
            "kind: prior 'sit' learns a velocity, and has no density that it was trained by (remove it)",
        ),
        (
            OF_LEVELS,
            "{kind: gaussian, std: 0.2}",
            "noise: prior 'itarflow' has a density at each noise level, and none without "
            "(noise: {kind: levels, t: [0.1, 0.3]})",
        ),
        (
            FLOW,
            "{kind: levels, t: [0.2]}",
            "noise.kind: prior 'tarflow' has no noise levels (that of the training)",
        ),
        (
            OF_LEVELS,
            "{kind: levels, t: [0.05, 0.4]}",
            "noise.t.0: 0.05 is no level of training, which are 0.1 to 0.4 (one between them)",
        ),
        (
            OF_LEVELS,
            "{kind: levels, t: [0.2, 0.2]}",
            "noise.t: levels out of order: [0.2, 0.2] (each once, from the lowest to the highest)",
        ),
        (
            OF_LEVELS,
            "{kind: levels, t: [0.2]}, check: {denoise: {kind: levels, t0: 0.1, t1: 0.5}}",
            "check.denoise.t1: 0.5 is above the highest level of training, 0.4 (lower it)",
        ),
        (FLOW, "{kind: gaussian, std: 0.2}, masked: true", "masked: this tokenizer masks nothing (false, or a"),
        (
            FLOW,
            "{kind: gaussian, std: 0.2}, guidance: {kind: linear, weight: 1}",
            "guidance: guided samples are of no density that is known: the likelihood is the trained density's (remove it)",
        ),
        (
            FLOW,
            "{kind: gaussian, std: 0.2}, denoise: {kind: score, std: 0.2}",
            "denoise: denoised samples are of no density that is known",
        ),
    ],
)
def test_where_a_likelihood_means_nothing(tmp_path: Path, run: str, noise: str, expected: str | None) -> None:
    root = make_specs(tmp_path)
    write(root, "mini/asked", run + OUTPUTS.replace("NOISE", noise))
    told = {line.partition(f": {LEFT}")[2] or line for line in problems(root)}
    assert not told if expected is None else any(line.startswith(expected) for line in told), told


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ("{kind: gaussian, std: 0.1}", {"kind": "gaussian", "std": 0.1}),
        ("{kind: uniform}", {"kind": "uniform"}),
        ("{kind: none}", {"kind": "none"}),
    ],
)
def test_noise_that_is_not_given_is_that_of_the_training(
    tmp_path: Path, noise: str, expected: dict[str, object]
) -> None:
    root = make_specs(tmp_path)
    run = FLOW.replace("{kind: gaussian, std: 0.2}", noise)
    write(root, "mini/asked", run + OUTPUTS.replace(", noise: NOISE", ""))
    write(root, "mini/said", run + OUTPUTS.replace("NOISE", noise))
    runs = Workspace(root).runs
    resolved = runs["asked"].spec.output("density")
    assert resolved.noise.identity() == expected
    assert resolved.identity() == runs["said"].spec.output("density").identity(), "one key"


def test_noise_that_nobody_can_know(tmp_path: Path) -> None:
    root = make_specs(tmp_path)
    given = OUTPUTS.replace(", noise: NOISE", "")
    released = FLOW.partition("phases:")[0] + "phases: {}\nweights: [{file: a.safetensors, sha256: null}]\n"
    write(root, "mini/released", released + given)
    objective = "{kind: joint, noise: {kind: slerp}, masked: false}"
    joint = OF_LATENTS.replace("    trains: [prior]\n", "").replace(
        "{kind: nll, noise: {kind: gaussian, std: 0.2}}", objective
    )
    write(root, "mini/joint", joint + given)
    told = sorted(line.partition(": outputs.density.")[2] for line in problems(root))
    assert told == [
        "noise: no phase trains the prior, and so its noise is not known (that of its training)",
        "noise: under noise that mixes by a random t (slerp) no density is known (remove it)",
    ]
    write(root, "mini/released", released + OUTPUTS.replace("NOISE", "{kind: uniform}"))
    write(root, "mini/joint", FLOW)
    assert problems(root) == []


# -- from specs to numbers -------------------------------------------------------------------------------------------

PROTOCOL = """\
dataset: digits
samples: {count: 100, batch_size: 100}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}, {kind: likelihood}, {kind: likelihood_check}]
"""
TABLE = """\
title: Likelihoods
protocol: densities
rows: [{run: itarflow}]
columns:
  - {output: density, metrics: [nll, nll_lowest, nll_highest, rate, distortion, denoiser_effect, round_trip, changed_tensors]}
"""


def finish(plan: Plan, job: Job) -> None:
    for upstream in job.inputs.values():
        finish(plan, upstream)
    run_job(plan, job)


@pytest.mark.slow
def test_the_falsifier_on_a_trained_itarflow(tmp_path: Path) -> None:
    """Held-out likelihood with the denoiser and without, the parameters, the round trip: numbers of a table."""
    project = new_project(tmp_path / "project")
    flow = (project / "specs/mini/tarflow.yaml").read_text().partition("outputs:")[0]
    flow = flow.replace("kind: tarflow", "kind: itarflow").replace(
        "{kind: gaussian, std: 0.2}", "{kind: levels, t0: 0.1, t1: 0.4, weight: t}"
    )
    denoise = "{kind: levels, t0: 0.1, t1: 0.4, steps: 4}"
    write(
        project,
        "mini/itarflow",
        flow + "outputs:\n  density:\n    kind: likelihood\n    noise: {kind: levels, t: [0.1, 0.25, 0.4]}\n"
        f"    check: {{count: 32, guidance: {{kind: linear, space: scale, weight: 1.0}}, denoise: {denoise}}}\n",
    )
    write(project, "protocols/densities", PROTOCOL)
    write(project, "tables/densities", TABLE)
    plan = open_plan(project)
    job = plan.job("itarflow.s0.density.densities")
    assert set(job.inputs) == {"output"}, "nothing to compare with, and no extractor"
    finish(plan, job)
    values, count = read_metrics(job.result(project))
    found = {name: each.value for name, each in values.items()}
    assert count == 297
    assert found["denoiser_effect"] == found["changed_tensors"] == 0.0
    assert found["round_trip"] < 1e-3 and found["round_trip_noise"] < 1e-3
    assert found["nll_lowest"] < found["nll"] < found["nll_highest"] < 1.5, "trained: a standard normal has more"
    facts = read_facts(job.inputs["output"].result(project), LikelihoodFacts)
    assert facts.parameters == facts.parameters_after and facts.weights == "ema.safetensors"
    from mimflow.products.table.collect import collect

    table = collect(plan.products["densities"])
    assert table.measured.groups[-1].heading == "Likelihood"
    assert [cell.text for cell in table.measured.rows[0].cells][-1] == "0"
    assert "denoised" in dict(table.protocol)["Likelihood"]
