"""From a public checkpoint to what it draws and encodes, without training: import, a run without phases, its system.

What comes out is what the public code computed (`tests/recordings`), or timm.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import REPOSITORY
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from mimflow.errors import ArtifactError, PlanError
from mimflow.nn.draws import Draws
from mimflow.outputs.registry import OUTPUTS
from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.importing import import_checkpoint
from mimflow.stages.infer import trained_system
from mimflow.system.modules import SystemModules
from mimflow.tasks import InferTask

pytestmark = pytest.mark.slow

DATASET = """\
source: {kind: image_folder, path: data}
transform: {size: SIZE, method: bilinear}
split: {kind: stratified, val: 4}
channels: 3
num_classes: CLASSES
"""
PROTOCOL = """\
dataset: DATASET
samples: {count: 4}
extractor: {kind: inception, weights: {file: inception.pth, sha256: null}}
metrics: [{kind: fid}]
"""
ATOL = 2e-5


def recorded(name: str) -> dict[str, Tensor]:
    with np.load(REPOSITORY / f"tests/recordings/{name}_reference.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


def state_of(recording: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("sd/"): tensor for name, tensor in recording.items() if name.startswith("sd/")}


def tokens(maps: Tensor) -> Tensor:
    """(B, C, H, W) → (B, tokens, C)."""
    return maps.flatten(2).transpose(1, 2)


class Project:
    """A project with a run without training, whose weights are what an import made."""

    def __init__(self, root: Path, size: int, classes: int, system: str, outputs: str = "{}"):
        self.root, self.system, self.outputs = root, system, outputs
        self.write("datasets/images", DATASET.replace("SIZE", str(size)).replace("CLASSES", str(classes)))
        self.write("protocols/images", PROTOCOL.replace("DATASET", "images"))
        self.run("{file: weights/none.safetensors, sha256: null}")

    def write(self, name: str, text: str) -> None:
        path = self.root / f"specs/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, weights: str) -> None:
        text = f"dataset: images\n{self.system}phases: {{}}\nweights: [{weights}]\noutputs: {self.outputs}\n"
        self.write("systems/released", text)

    def bring(self, layout: str, state: dict[str, Tensor]) -> None:
        """Import a checkpoint, and name what came of it in the run, as the command says."""
        torch.save(state, self.root / "public.pth")
        text = import_checkpoint(
            self.root / "public.pth", layout, open_workspace(self.root), "released", Path("weights/released")
        )
        found = re.search(r"weights: \[(\{.*?\})\] of a run without training", text)
        assert found is not None
        self.run(found[1])

    def open(self, output: str) -> tuple[InferTask, SystemModules]:
        """What the infer stage would draw from."""
        plan = open_plan(self.root)
        job = plan.infer("released", output, plan.workspace.protocols["images"].spec, 0)
        assert isinstance(job.task, InferTask)
        return job.task, trained_system(job.task, {})[0].requires_grad_(False)


@pytest.fixture(autouse=True)
def in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in specs are relative to the project."""
    monkeypatch.chdir(tmp_path)


def drawn(task: InferTask, modules: SystemModules, noise: Tensor, labels: Tensor) -> Tensor:
    """The images of an output of a prior that starts from this noise."""
    modules.prior.noise = lambda draws: noise
    sampler = OUTPUTS.build(task.output)
    return modules.tokenizer.decode(sampler.latents(modules.prior, labels, Draws(range(len(labels)))))


@pytest.mark.parametrize("output", ["rev", "rev_guided17_annealed"])
def test_tarflow_draws_what_the_release_draws(tmp_path: Path, output: str) -> None:
    reference = recorded("ml_tarflow")
    project = Project(
        tmp_path,
        8,
        4,
        "tokenizer: {kind: pixel, patch_size: 2}\nprior: {kind: tarflow, width: 64, blocks: [1, 1, 1]}\n",
        "{rev: {kind: inverse}, rev_guided17_annealed: {kind: inverse, guidance: {kind: linear, weight: 1.7}}}",
    )
    project.bring("ml-tarflow", state_of(reference))
    task, modules = project.open(output)
    found = drawn(task, modules, reference["noise"], reference["ysample"])
    torch.testing.assert_close(found, reference[output], atol=ATOL, rtol=0)


def test_sit_follows_the_releases_velocity(tmp_path: Path) -> None:
    """Eight steps of Euler's from recorded noise; grey patches stand in for the latents' four channels."""
    reference = recorded("sit")
    project = Project(
        tmp_path,
        16,
        10,
        "tokenizer: {kind: pixel, patch_size: 2}\n"
        "prior: {kind: sit, width: 64, layers: 2, head_width: 16, patch_size: 2}\n",
        "{ode: {kind: ode, method: euler, steps: 8}}",
    )
    project.write(
        "datasets/images", DATASET.replace("SIZE", "16").replace("CLASSES", "10").replace("channels: 3", "channels: 1")
    )
    project.bring("sit", state_of(reference))
    task, modules = project.open("ode")
    sampler = OUTPUTS.build(task.output)
    modules.prior.noise = lambda draws: tokens(reference["noise"])
    found = sampler.latents(modules.prior, reference["ysample"], Draws(range(6)))
    torch.testing.assert_close(found, tokens(reference["ode/euler"]), atol=ATOL, rtol=0)


# -- autoencoders ----------------------------------------------------------------------------------------------------

MAR = (
    "tokenizer: {kind: kl_vae, channels: 4, width: 32, multipliers: [1, 1, 2], blocks: 1, "
    "variance: {kind: learnable}}\n"
)
RECONSTRUCTION = "{reconstruction: {kind: reconstruction}}"
RESIDUAL = {"nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
OLD_ATTENTION = ATTENTION | {"q": "query", "k": "key", "v": "value", "proj_out": "proj_attn"}
PLACES = {
    "encoder.down.0.block.0": "encoder.down_blocks.0.resnets.0",
    "encoder.down.1.block.0": "encoder.down_blocks.1.resnets.0",
    "encoder.down.2.block.0": "encoder.down_blocks.2.resnets.0",
    "encoder.down.2.attn.0": "encoder.down_blocks.2.attentions.0",
    "encoder.down.0.downsample": "encoder.down_blocks.0.downsamplers.0",
    "encoder.down.1.downsample": "encoder.down_blocks.1.downsamplers.0",
    "decoder.up.2.block.0": "decoder.up_blocks.0.resnets.0",
    "decoder.up.2.block.1": "decoder.up_blocks.0.resnets.1",
    "decoder.up.1.block.0": "decoder.up_blocks.1.resnets.0",
    "decoder.up.1.block.1": "decoder.up_blocks.1.resnets.1",
    "decoder.up.0.block.0": "decoder.up_blocks.2.resnets.0",
    "decoder.up.0.block.1": "decoder.up_blocks.2.resnets.1",
    "decoder.up.2.upsample": "decoder.up_blocks.0.upsamplers.0",
    "decoder.up.1.upsample": "decoder.up_blocks.1.upsamplers.0",
    "encoder.norm_out": "encoder.conv_norm_out",
    "decoder.norm_out": "decoder.conv_norm_out",
}
PLACES |= {
    f"{half}.mid.block_{n}": f"{half}.mid_block.resnets.{n - 1}" for half in ("encoder", "decoder") for n in (1, 2)
}
PLACES |= {f"{half}.mid.attn_1": f"{half}.mid_block.attentions.0" for half in ("encoder", "decoder")}
"""Modules of MAR's autoencoder, and what diffusers calls them."""


def in_diffusers(state: dict[str, Tensor], attention: dict[str, str]) -> dict[str, Tensor]:
    """MAR's state under diffusers' names, its attention as linear maps."""
    found = {}
    for name, tensor in state.items():
        place = next((place for place in PLACES if name.startswith(f"{place}.")), None)
        if place is None:  # conv_in, conv_out and the quantising convolutions have one name
            found[name] = tensor
            continue
        inner, _, kind = name.removeprefix(f"{place}.").rpartition(".")
        attends = "attentions" in PLACES[place]
        inner = (attention if attends else RESIDUAL).get(inner, inner)
        linear = attends and "norm" not in inner and kind == "weight"
        found[f"{PLACES[place]}.{inner}.{kind}" if inner else f"{PLACES[place]}.{kind}"] = (
            tensor[:, :, 0, 0] if linear else tensor
        )
    return found


@pytest.mark.parametrize(
    ("layout", "state"),
    [
        ("mar", lambda state: state),
        ("mar", lambda state: {"model": state, "epoch": 3}),
        ("ldm", lambda state: state | {"loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}),
        ("diffusers", lambda state: in_diffusers(state, ATTENTION)),
        ("diffusers", lambda state: in_diffusers(state, OLD_ATTENTION)),
    ],
    ids=["mar", "mar under a name", "ldm", "diffusers", "diffusers, former names"],
)
def test_an_autoencoder_encodes_and_decodes_as_released(tmp_path: Path, layout: str, state: object) -> None:
    reference = recorded("mar_vae")
    project = Project(tmp_path, 32, 4, MAR, RECONSTRUCTION)
    project.bring(layout, state(state_of(reference)))  # type: ignore[operator]
    _, modules = project.open("reconstruction")
    torch.testing.assert_close(modules.tokenizer.encode(reference["x"]), tokens(reference["mean"]), atol=ATOL, rtol=0)
    for latents, decoded in (("mean", "decoded_mean"), ("latents", "decoded_latents")):
        found = modules.tokenizer.decode(tokens(reference[latents]))
        torch.testing.assert_close(found, reference[decoded], atol=ATOL, rtol=0)


@pytest.mark.fault("weights from outside")
@pytest.mark.parametrize(
    ("system", "layout", "message"),
    [
        (
            MAR,
            "diffusers",
            r"diffusers checkpoint does not fit: missing encoder\.down_blocks\.0\.resnets\.0\.norm1\.weight, .*; "
            r"unexpected encoder\.down\.0\.block\.0\.norm1\.weight, ",
        ),
        (
            MAR.replace("blocks: 1", "blocks: 2"),
            "mar",
            r"ldm checkpoint does not fit: missing encoder\.down\.0\.block\.1\.norm1\.weight",
        ),
        (
            MAR.replace("channels: 4", "channels: 8"),
            "mar",
            r"mis-shaped .*encoder\.conv_out\.weight is \(8, 64, 3, 3\) where \(16, 64, 3, 3\) fits",
        ),
        (
            MAR.replace("variance", "scale: measured, variance"),
            "mar",
            r"ldm checkpoint: it has no scale of latents, which the tokenizer measures \(scale: a number\)",
        ),
    ],
)
def test_an_autoencoder_that_does_not_fit(tmp_path: Path, system: str, layout: str, message: str) -> None:
    project = Project(tmp_path, 32, 4, system, RECONSTRUCTION)
    with pytest.raises(ArtifactError, match=message):
        project.bring(layout, state_of(recorded("mar_vae")))


@pytest.mark.fault("weights from outside")
def test_a_layout_of_another_module(tmp_path: Path) -> None:
    project = Project(tmp_path, 32, 4, MAR, RECONSTRUCTION)
    with pytest.raises(PlanError, match="--spec released: its tokenizer is not what timm-vit holds"):
        project.bring("timm-vit", {"x": torch.zeros(1)})
    with pytest.raises(PlanError, match="--spec released: its prior is not what sit holds"):
        project.bring("sit", {"x": torch.zeros(1)})


# -- encoders --------------------------------------------------------------------------------------------------------

MASKED = (
    "tokenizer: {kind: masked_ae, patch_size: 4, latents: 3, channels: 6, rotary: false, mask: {kind: none}, "
    "encoder: {width: 16, layers: 2, heads: 2, layer_scale: 0.1}, "
    "decoder: {width: 16, layers: 1, heads: 2, absolute_positions: true}}\n"
)
REPRESENTATION = "{features: {kind: representation, where: {kind: tokenizer, what: latents}}}"


def vit() -> VisionTransformer:
    """DINOv2's architecture, small: a class token, learned positions, scales on every branch."""
    torch.manual_seed(5)
    model = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, init_values=0.1, num_classes=0
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def in_a_tokenizer(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As a tokenizer's checkpoint holds an encoder and a decoder of timm's, and its own parts beside them."""
    own = {"encoder.latent_tokens": torch.zeros(1, 3, 16), "quant_conv.weight": torch.zeros(6, 16)}
    return own | {f"{half}.model.{name}": t for half in ("encoder", "decoder") for name, t in state.items()}


@pytest.mark.parametrize("wrapped", [dict, in_a_tokenizer], ids=["DINOv2's", "of a tokenizer"])
def test_an_encoders_transformer_is_timms(tmp_path: Path, wrapped: object) -> None:
    """The patches with their positions, and what the layers and the last norm make of any tokens."""
    model = vit()
    project = Project(tmp_path, 16, 4, MASKED, REPRESENTATION)
    project.bring("timm-vit", wrapped(model.state_dict()))  # type: ignore[operator]
    _, modules = project.open("features")
    encoder, images = modules.tokenizer.encoder, torch.randn(2, 3, 16, 16)
    patches = encoder.patch_embed(images) + encoder.pos_embed[:, 1:]
    cls = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(2, -1, -1)
    embedded = torch.cat([cls, patches], 1)
    expected = model._pos_embed(model.patch_embed(images))
    torch.testing.assert_close(embedded, expected, atol=ATOL, rtol=0)
    torch.testing.assert_close(encoder.vit(embedded), model.norm(model.blocks(expected)), atol=ATOL, rtol=0)
    assert modules.tokenizer.encode(images).shape == (2, 3, 6)


def test_what_is_fresh_is_the_same_every_time(tmp_path: Path) -> None:
    project = Project(tmp_path, 16, 4, MASKED, REPRESENTATION)
    digests = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        project.bring("timm-vit", vit().state_dict())
        digests.append((tmp_path / "weights/released/weights.safetensors").read_bytes())
    assert digests[0] == digests[1]


@pytest.mark.fault("weights from outside")
def test_an_encoder_that_is_none(tmp_path: Path) -> None:
    project = Project(tmp_path, 16, 4, MASKED, REPRESENTATION)
    with pytest.raises(ArtifactError, match=r"not a timm-vit checkpoint: no patch_embed\.proj\.weight in it"):
        project.bring("timm-vit", {"conv1.weight": torch.zeros(2, 3)})
    state = vit().state_dict()
    state.pop("blocks.1.ls1.gamma")
    with pytest.raises(ArtifactError, match=r"timm-vit checkpoint does not fit: missing vit\.blocks\.1\.gamma_1"):
        project.bring("timm-vit", state)
    two = {f"{name}.{key}": tensor for name in ("teacher", "student") for key, tensor in vit().state_dict().items()}
    with pytest.raises(ArtifactError, match=r"2 transformers, below (teacher|student)\., "):
        project.bring("timm-vit", two)
