"""`mimflow import-checkpoint`: an artifact that a run can start from, or the tensors that do not fit."""

from __future__ import annotations

import argparse
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import REPOSITORY
from safetensors.torch import load_file, save_file

import mimflow
from mimflow.errors import ArtifactError, PlanError
from mimflow.products.registry import open_workspace
from mimflow.project.importing import import_checkpoint
from mimflow.project.workspace import Workspace
from mimflow.system.modules import SystemModules, load_weights
from mimflow.system.spec import Shapes
from mimflow.weights.tensors import read_tensors

pytestmark = pytest.mark.slow

REFERENCE = np.load(REPOSITORY / "tests/recordings/ml_tarflow_reference.npz")
ITARFLOW = np.load(REPOSITORY / "tests/recordings/ml_itarflow_reference.npz")
STARFLOW = np.load(REPOSITORY / "tests/recordings/ml_starflow_reference.npz")
SIT = np.load(REPOSITORY / "tests/recordings/sit_reference.npz")


def state_of(reference: np.lib.npyio.NpzFile) -> dict[str, torch.Tensor]:
    return {name[3:]: torch.from_numpy(reference[name]) for name in reference.files if name.startswith("sd/")}


STATE = state_of(REFERENCE)
RUN = """\
dataset: tiny
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: tarflow, width: 64, blocks: [1, 1, 1]}
phases:
  main:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.05}}
    steps: 1
    optimizer: {kind: adamw, lr: 1e-4}
"""
OVER_LEVELS = (
    RUN.replace("kind: tarflow", "kind: itarflow")
    .replace("[1, 1, 1]", "[1, 1, 2]")
    .replace("{kind: gaussian, std: 0.05}", "{kind: levels, t1: 0.3}")
)
OF_LATENTS = """\
dataset: ten
tokenizer: {kind: kl_vae, channels: 4, width: 4, multipliers: [1], blocks: 1, groups: 2, variance: {kind: learnable}}
prior:
  kind: starflow
  width: 128
  blocks: [1, 1, 2]
  order: reverse
  position: rotary_2d
  start: sos
  scale: softplus
  soft_clip: 4.0
  final_norm: true
  conditioning: prefix
phases:
  main:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.3}}
    trains: [prior]
    steps: 1
    optimizer: {kind: adamw, lr: 1e-4}
"""
VELOCITY = """\
dataset: grey
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: sit, width: 64, layers: 2, head_width: 16, patch_size: 2}
phases:
  main:
    objective: {kind: velocity}
    steps: 1
    optimizer: {kind: adamw, lr: 1e-4}
"""
DATASET = """\
source: {kind: image_folder, path: data}
transform: {size: 8, method: bilinear}
split: {kind: stratified, val: 4}
channels: 3
num_classes: 4
"""
GREY = DATASET.replace("size: 8", "size: 16").replace("channels: 3", "channels: 1").replace("classes: 4", "classes: 10")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name, text in (
        ("datasets/tiny", DATASET),
        ("datasets/ten", DATASET.replace("num_classes: 4", "num_classes: 10")),
        ("systems/reference", RUN),
        ("systems/wide", RUN.replace("64", "128")),
        ("systems/levels", OVER_LEVELS),
        ("systems/latents", OF_LATENTS),
        ("datasets/grey", GREY),
        ("systems/velocity", VELOCITY),
    ):
        path = tmp_path / "specs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return open_workspace(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_imported_checkpoint_computes_what_the_public_code_does(workspace: Workspace, suffix: str) -> None:
    file = workspace.root / f"public{suffix}"
    if suffix == ".pth":
        torch.save(STATE, file)
    else:
        save_file(STATE, file)
    out = workspace.root / "imported"
    text = import_checkpoint(file, "ml-tarflow", workspace, "reference", out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["files"]["weights.safetensors"]["sha256"] in text
    run = workspace.runs["reference"].spec
    modules = SystemModules(run, Shapes.of(workspace.datasets["tiny"].spec))
    load_weights(modules, out / "weights.safetensors")
    images, labels = torch.from_numpy(REFERENCE["x"]), torch.from_numpy(REFERENCE["y"])
    with torch.no_grad():
        z, _, _ = modules.prior(modules.tokenizer.encode(images), labels)
    torch.testing.assert_close(z, torch.from_numpy(REFERENCE["z"]), atol=2e-5, rtol=0)
    assert set(load_file(out / "weights.safetensors")) == set(modules.state_dict())


def test_an_imported_checkpoint_is_loaded_by_its_folder(workspace: Workspace) -> None:
    file, out = workspace.root / "public.pth", workspace.root / "imported"
    torch.save(STATE, file)
    import_checkpoint(file, "ml-tarflow", workspace, "reference", out)
    system = mimflow.load(out, device="cpu")
    # Of z and the mean log-determinant a dimension, as the public code gives them: TARFlow, equation 3.
    z, logdet = torch.from_numpy(REFERENCE["z"]).flatten(1), torch.from_numpy(REFERENCE["logdet"])
    expected = (-(z**2) / 2 - np.log(2 * np.pi) / 2 + logdet[:, None]).sum(1)
    found = system.log_prob(torch.from_numpy(REFERENCE["x"]), REFERENCE["y"])
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-5)
    assert system.sample([0, 1], output={"kind": "inverse", "ema": False}).shape == (2, 8, 8, 3)


def test_what_an_imported_checkpoint_does_not_hold_is_not_made_up(workspace: Workspace) -> None:
    file, out = workspace.root / "public.pth", workspace.root / "imported"
    torch.save(state_of(STARFLOW), file)
    import_checkpoint(file, "ml-starflow", workspace, "latents", out)
    system = mimflow.load(out, device="cpu")
    for use in (
        lambda: system.encode(np.zeros((1, 8, 8, 3), np.uint8)),
        lambda: system.sample([0], output={"kind": "inverse"}),
    ):
        with pytest.raises(
            ArtifactError, match=r"imported: holds no weights of the tokenizer \(a run without training"
        ):
            use()


def test_an_imported_checkpoint_of_noise_levels(workspace: Workspace) -> None:
    file, out = workspace.root / "public.pth", workspace.root / "imported"
    torch.save(state_of(ITARFLOW), file)
    import_checkpoint(file, "ml-itarflow", workspace, "levels", out)
    modules = SystemModules(workspace.runs["levels"].spec, Shapes.of(workspace.datasets["tiny"].spec))
    load_weights(modules, out / "weights.safetensors")
    images, labels, levels = (torch.from_numpy(ITARFLOW[name]) for name in ("x", "y", "t"))
    with torch.no_grad():
        z, _, _ = modules.prior.at(levels[:, 0])(modules.tokenizer.encode(images), labels)
    torch.testing.assert_close(z, torch.from_numpy(ITARFLOW["z"]), atol=2e-5, rtol=0)
    with pytest.raises(PlanError, match="--spec levels: its prior is not what ml-tarflow holds"):
        import_checkpoint(file, "ml-tarflow", workspace, "levels", workspace.root / "other")


def test_an_imported_checkpoint_of_a_flow_of_latents(workspace: Workspace) -> None:
    file, out = workspace.root / "public.pth", workspace.root / "imported"
    torch.save(state_of(STARFLOW), file)
    import_checkpoint(file, "ml-starflow", workspace, "latents", out)
    prior = SystemModules(workspace.runs["latents"].spec, Shapes.of(workspace.datasets["ten"].spec)).prior
    state = load_file(out / "weights.safetensors")
    prior.load_state_dict({name.removeprefix("prior."): tensor for name, tensor in state.items()})
    latents, labels, z = (torch.from_numpy(STARFLOW[name]) for name in ("x", "y", "z"))
    with torch.no_grad():
        found, _, _ = prior(latents.flatten(2).mT, labels.where(labels < 10, -1))
    torch.testing.assert_close(found, z.flatten(2).mT, atol=2e-5, rtol=0)


def test_an_imported_checkpoint_of_a_velocity(workspace: Workspace) -> None:
    file, out = workspace.root / "public.pth", workspace.root / "imported"
    torch.save(state_of(SIT), file)
    import_checkpoint(file, "sit", workspace, "velocity", out)
    modules = SystemModules(workspace.runs["velocity"].spec, Shapes.of(workspace.datasets["grey"].spec))
    load_weights(modules, out / "weights.safetensors")
    x, t, labels = (torch.from_numpy(SIT[name]) for name in ("x", "t", "y"))
    with torch.no_grad():
        velocity = modules.prior(x.flatten(2).transpose(1, 2), t, labels).velocity
    expected = torch.from_numpy(SIT["v"]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(velocity, expected, atol=2e-5, rtol=0)


@pytest.mark.fault("weights from outside")
def test_tensors_that_do_not_fit_are_named(workspace: Workspace) -> None:
    file = workspace.root / "public.pth"
    torch.save(STATE, file)
    with pytest.raises(ArtifactError, match=r"mis-shaped blocks\.0\.pos_embed is \(16, 64\) where \(16, 128\) fits"):
        import_checkpoint(file, "ml-tarflow", workspace, "wide", workspace.root / "out")
    assert not (workspace.root / "out").exists()


@pytest.mark.fault("code in files")
def test_a_malicious_pickle_is_refused_and_not_run(workspace: Workspace) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (workspace.root / "attacked",)  # type: ignore[return-value]

    file = workspace.root / "public.pth"
    file.write_bytes(pickle.dumps({"x": Attack()}))
    with pytest.raises(ArtifactError, match="not a checkpoint of tensors"):
        import_checkpoint(file, "ml-tarflow", workspace, "reference", workspace.root / "out")
    assert not (workspace.root / "attacked").exists()


@pytest.mark.fault("weights from outside")
def test_unknown_layout_and_run(workspace: Workspace) -> None:
    file = workspace.root / "public.pth"
    torch.save(STATE, file)
    with pytest.raises(PlanError, match=r"--from ml-tarflw: no such layout \(did you mean 'ml-tarflow'\?\)"):
        import_checkpoint(file, "ml-tarflw", workspace, "reference", workspace.root / "out")
    with pytest.raises(PlanError, match="no run named 'referenc'"):
        import_checkpoint(file, "ml-tarflow", workspace, "referenc", workspace.root / "out")
    with pytest.raises(ArtifactError, match="no such file"):
        import_checkpoint(workspace.root / "none.pth", "ml-tarflow", workspace, "reference", workspace.root / "out")


# -- as people store them: wrapped, compiled, parallel, beside an optimiser; or not finite, or not tensors ------------

OTHER = {name: tensor + 1 for name, tensor in STATE.items()}
TRAINING = {
    "opt": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
    "args": argparse.Namespace(lr=1e-4),
    "step": 7,
}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


WRAPPED = {
    "in parallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled in parallel": prefixed("module._orig_mod."),
    "in parallel, then compiled": prefixed("_orig_mod.module."),
    "averaged": {**prefixed("module."), "n_averaged": torch.tensor(3)},
    "compiled in part": {
        name.replace("attn_blocks.0.", "attn_blocks.0._orig_mod."): tensor for name, tensor in STATE.items()
    },
    "under a name": {"state_dict": STATE},
    "beside an optimiser and arguments": {"model": prefixed("module."), **TRAINING},
    "under two names": {"checkpoint": {"model": STATE}, "epoch": 3},
}


@pytest.mark.fault("weights from outside")
@pytest.mark.parametrize("case", WRAPPED)
def test_a_wrapped_checkpoint_is_imported(workspace: Workspace, case: str) -> None:
    plain, file = workspace.root / "plain.pth", workspace.root / "public.pth"
    torch.save(STATE, plain)
    torch.save(WRAPPED[case], file)
    for source, out in ((plain, "plain"), (file, "wrapped")):
        import_checkpoint(source, "ml-tarflow", workspace, "reference", workspace.root / out)
    expected, found = (load_file(workspace.root / out / "weights.safetensors") for out in ("plain", "wrapped"))
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.fault("weights from outside")
def test_of_several_states_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "public.pt"
    torch.save({"model": OTHER, "ema": STATE, **TRAINING}, file)
    with pytest.raises(ArtifactError, match=r"public\.pt: holds 2 states: model, ema \(say which: --part ema\)"):
        read_tensors(file)
    found = read_tensors(file, "ema")
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    with pytest.raises(ArtifactError, match=r"public\.pt: no part 'emma' of tensors \(it has: model, ema\)"):
        read_tensors(file, "emma")


@pytest.mark.fault("weights from outside")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(workspace: Workspace, value: float) -> None:
    file = workspace.root / "public.pth"
    torch.save(
        {name: torch.full_like(tensor, value) if "pos" in name else tensor for name, tensor in STATE.items()}, file
    )
    with pytest.raises(ArtifactError, match=r"public\.pth: \S+ and 2 more is not finite \(NaN or infinite"):
        import_checkpoint(file, "ml-tarflow", workspace, "reference", workspace.root / "out")
    assert not (workspace.root / "out").exists()


class Anything:
    """What a checkpoint of a whole module holds beside its tensors."""


@pytest.mark.fault("weights from outside")
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pickle.dumps({"model": Anything()}), "it holds more than tensors"),
        (b"", "not a checkpoint of tensors: "),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a checkpoint of tensors: "),
        (b"<!DOCTYPE html>", "not a checkpoint of tensors: "),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_checkpoint_is_a_line_that_advises_nothing_unsafe(
    tmp_path: Path, data: bytes, expected: str, suffix: str
) -> None:
    file = tmp_path / f"public{suffix}"
    file.write_bytes(data)
    with pytest.raises(
        ArtifactError, match=expected if suffix == ".pth" else "not a checkpoint of tensors: "
    ) as caught:
        read_tensors(file)
    text = str(caught.value)
    assert "\n" not in text and "weights_only" not in text and "trust" not in text


@pytest.mark.fault("code in files")
def test_a_whole_module_is_refused_by_its_name(tmp_path: Path) -> None:
    torch.save({"model": Anything()}, tmp_path / "public.pth")
    with pytest.raises(ArtifactError, match=r"it holds more than tensors: \S+Anything \(save the state dict alone"):
        read_tensors(tmp_path / "public.pth")


@pytest.mark.fault("weights from outside")
@pytest.mark.parametrize("data", [b"", b"rubbish" * 100, b"\xff" * 100])
def test_weights_to_start_from_that_are_no_safetensors(workspace: Workspace, data: bytes) -> None:
    file = workspace.root / "start.safetensors"
    file.write_bytes(data)
    modules = SystemModules(workspace.runs["reference"].spec, Shapes.of(workspace.datasets["tiny"].spec))
    with pytest.raises(ArtifactError, match=r"start\.safetensors: not a checkpoint of tensors: \S"):
        load_weights(modules, file)
    save_file({"something": torch.zeros(1)}, file)
    with pytest.raises(ArtifactError, match=r"start\.safetensors: holds none of the system's modules"):
        load_weights(modules, file)
