"""What training would refuse, perhaps hours later, validation refuses: each with its place and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from specs_project import CLASSIFIER, DATASET, RUN, make_specs, problems, write

PROTOCOL = """\
dataset: digits
samples: {count: 20}
reference: {split: val, count: 298}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}]
"""
MASKED_AE = (
    "{kind: masked_ae, patch_size: 2, latents: 4, channels: 4, mask: {kind: none}, "
    "encoder: {width: 8, layers: 1, heads: 2}, decoder: {width: 8, layers: 1, heads: 2}}"
)
GAUSSIAN = "{kind: class_gaussian}"
TARFLOW = "{kind: tarflow, width: 16, head_width: 8, blocks: [1, 1]}"
NOISY = "{kind: nll, noise: {kind: gaussian, std: 0.2}}"
JOINT = "{kind: joint, noise: {kind: additive, std: 0.2}}"
DECODER = "{kind: decoder, noise: {kind: additive, std: 0.2}, masked: false}"


def changed(*changes: tuple[str, str], first_phase_only: bool = True) -> str:
    """The run with these texts replaced, and without its second phase."""
    text = RUN[: RUN.index("  tune:")] + RUN[RUN.index("outputs:") :] if first_phase_only else RUN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


CLOSED_FORM = "    steps: 10\n    batch_size: 8\n    optimizer: {kind: adamw, lr: 1e-3}\n"
REFUSED = {
    "moments of a prior that is trained by steps": (
        changed((NOISY, "{kind: moments}"), (CLOSED_FORM, "")),
        "6:23: phases.main.objective.kind: prior 'tarflow' is trained by steps and has no closed form "
        "(nll or velocity, or prior: {kind: class_gaussian})",
    ),
    "grey levels of latents": (
        changed(
            ("{kind: pixel, patch_size: 2}", MASKED_AE),
            ("{kind: gaussian, std: 0.2}", "{kind: uniform}"),
            ("    steps", "    trains: [prior]\n    steps"),
        ),
        "6:42: phases.main.objective.noise.kind: uniform dequantisation is of grey levels, and the tokenizer's latents "
        "have none",
    ),
    "the likelihood of a prior in closed form": (
        changed((TARFLOW, GAUSSIAN)),
        "6:23: phases.main.objective.kind: prior 'class_gaussian' has no parameters to train by steps (moments)",
    ),
    "a prior in closed form trained jointly": (
        changed((TARFLOW, GAUSSIAN), ("{kind: pixel, patch_size: 2}", MASKED_AE), (NOISY, JOINT)),
        "6:23: phases.main.objective.kind: prior 'class_gaussian' has no parameters to train by steps (moments)",
    ),
    "a decoder trained with the prior": (
        changed(
            ("{kind: pixel, patch_size: 2}", MASKED_AE),
            (NOISY, DECODER.replace("masked", "adversarial: null, masked")),
            ("    steps", "    trains: [tokenizer, prior]\n    steps"),
        ),
        "7:13: phases.main.trains: ['tokenizer', 'prior']: objective 'decoder' trains the tokenizer's decoder "
        "(leave it out)",
    ),
    "a batch larger than the training split": (
        changed(("batch_size: 8", "batch_size: 1501")),
        "8:17: phases.main.batch_size: 1501 is more than the 1500 training images (at most 1500)",
    ),
    "a tokenizer without parameters": (
        changed(("    steps", "    trains: [tokenizer]\n    steps")),
        "7:13: phases.main.trains: ['tokenizer']: there is no parameter to train (leave it out)",
    ),
    "nothing to train": (
        changed(("    steps", "    trains: []\n    steps")),
        "7:13: phases.main.trains: []: there is no parameter to train (leave it out)",
    ),
    "pixels reconstructed": (
        changed((NOISY, DECODER.replace("masked", "adversarial: null, masked"))),
        "6:23: phases.main.objective.kind: the tokenizer 'pixel' has no decoder to train (another tokenizer)",
    ),
    "guidance of a prior without blocks": (
        changed(
            (TARFLOW, GAUSSIAN),
            (NOISY, "{kind: moments}"),
            (CLOSED_FORM, ""),
            ("ema: false", "ema: false, guidance: {kind: linear, weight: 1.0}"),
        ),
        "outputs.unguided.guidance: prior 'class_gaussian' has no autoregressive blocks to guide (leave guidance out)",
    ),
    "positions on a grid of latents without one": (
        changed(
            (TARFLOW, "{kind: starflow, width: 16, head_width: 8, blocks: [1], position: rotary_2d}"),
            ("{kind: pixel, patch_size: 2}", MASKED_AE),
            ("    steps", "    trains: [prior]\n    steps"),
        ),
        "prior.position: rotary_2d needs a grid, and 4 tokens have none (position: learned)",
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_specs(tmp_path)


@pytest.mark.fault("validation")
@pytest.mark.parametrize("case", REFUSED)
def test_a_run_is_refused(project: Path, case: str) -> None:
    text, expected = REFUSED[case]
    write(project, "mini/tarflow", text)
    (problem,) = problems(project)
    assert expected in problem


def test_a_classifier_deeper_than_the_image(project: Path) -> None:
    write(project, "mini/classifier", CLASSIFIER.replace("widths: [8]", "widths: [8, 8, 8, 8]"))
    assert problems(project) == []
    write(project, "mini/classifier", CLASSIFIER.replace("widths: [8]", "widths: [8, 8, 8, 8, 8]"))
    assert problems(project) == [
        "specs/mini/classifier.yaml:2:37: classifier.widths: 5 stages halve an image of 8 pixels to nothing (at most 4)"
    ]


KL_VAE_RUN = """\
dataset: digits
tokenizer:
  kind: kl_vae
  channels: 4
  width: 4
  groups: 2
  multipliers: [1, 2]
  variance: {kind: learnable}
  scale: measured
phases:
  main:
    objective: {kind: autoencoder}
    steps: 3
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-3}
"""


def test_a_scale_is_measured_by_a_phase_or_by_another_run(project: Path) -> None:
    write(project, "mini/vae", KL_VAE_RUN)
    assert problems(project) == [
        "specs/mini/vae.yaml:9:10: tokenizer.scale: no phase measures it, and no other run's weights are taken "
        "(phases: {scale: {objective: {kind: latent_scale}}})"
    ]
    measuring = KL_VAE_RUN + "  scale: {objective: {kind: latent_scale}}\n"
    write(project, "mini/vae", measuring)
    assert problems(project) == []
    write(project, "mini/vae", measuring.replace("scale: measured", "scale: 0.5"))
    assert problems(project) == [
        "specs/mini/vae.yaml:16:29: phases.scale.objective.kind: the tokenizer has no scale to measure "
        "(tokenizer: {kind: kl_vae, scale: measured, …})"
    ]
    write(project, "mini/vae", measuring.replace("scale: measured", "scale: mesured"))
    assert problems(project) == [
        "specs/mini/vae.yaml:9:10: tokenizer.scale: got 'mesured', wanted one of measured (did you mean 'measured'?)"
    ]
    write(project, "mini/vae", measuring.replace("scale: measured", "scale: -1"))
    assert problems(project) == ["specs/mini/vae.yaml:9:10: tokenizer.scale: got -1, which should be greater than 0"]


def test_a_batch_as_large_as_the_training_split_is_fine(project: Path) -> None:
    write(project, "mini/tarflow", changed(("batch_size: 8", "batch_size: 1500")))
    assert problems(project) == []


@pytest.mark.parametrize(("size", "expected"), [(4913, []), (4914, ["4914 is more than the 4913 training images"])])
def test_the_photographs_training_crops_are_counted(project: Path, size: int, expected: list[str]) -> None:
    # 17 photographs of 17 × 17 corners, 16 pixels apart, in 300 rows and 288 columns.
    source = "{kind: photos, crop: 32, stride: 16}"
    write(
        project,
        "datasets/digits",
        f"source: {source}\ntransform: {{size: 32}}\nsplit: {{kind: regions}}\nchannels: 3\nnum_classes: 17\n",
    )
    write(project, "mini/tarflow", changed(("batch_size: 8", f"batch_size: {size}")))
    found = problems(project)
    assert len(found) == len(expected) and all(text in line for text, line in zip(expected, found, strict=True))


@pytest.mark.fault("validation")
def test_a_reference_larger_than_its_split(project: Path) -> None:
    write(project, "protocols/small", PROTOCOL)
    assert problems(project) == [
        "specs/protocols/small.yaml:3:32: reference.count: 298 images, split 'val' of 'digits' has 297 "
        "(leave it out to take them all)"
    ]


def test_data_without_classes(project: Path) -> None:
    write(project, "datasets/digits", DATASET.replace("num_classes: 10", "num_classes: 0"))
    assert problems(project) == [
        "specs/datasets/digits.yaml:5:14: num_classes: got 0, which should be greater than or equal to 1"
    ]
