"""What every registered output must do, whatever it draws from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from parts import missing_examples
from training_parts import MASKED_AE, SHAPES, TARFLOW, perturbed_modules, tiny_data

from mimflow.artifacts.latents import read_latents
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.samples import read_samples
from mimflow.artifacts.shard import Shard
from mimflow.contents.registry import CONTENTS
from mimflow.data.prepared import Prepared
from mimflow.outputs.base import Setting
from mimflow.outputs.drawing import Samples
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.spec import OutputSpec
from mimflow.progress import Progress
from mimflow.system.spec import Shapes

pytestmark = pytest.mark.slow

ITARFLOW = TARFLOW | {"prior": TARFLOW["prior"] | {"kind": "itarflow"}}
SIT = {
    "tokenizer": {"kind": "pixel", "patch_size": 4},
    "prior": {"kind": "sit", "width": 8, "layers": 1, "head_width": 4, "expansion": 2},
}
LEVELS = {"kind": "levels", "t0": 0.1, "t1": 0.3, "steps": 2, "method": "sde"}
FREE = {"kind": "classifier_free", "weight": 1.0}

EXAMPLES = {
    "inverse": [
        (TARFLOW, {"guidance": {"kind": "linear", "weight": 1.0}, "denoise": {"kind": "score", "std": 0.3}}),
        (TARFLOW, {"guidance": {"kind": "gaussian_product", "weight": 2.0}, "denoise": {"kind": "score_guidance"}}),
        (ITARFLOW, {"denoise": LEVELS}),
        (MASKED_AE, {"noise_temperature": 0.9}),
    ],
    "ode": [(SIT, {"steps": 2, "method": "heun", "guidance": FREE}), (SIT, {"method": "dopri5", "error": "sample"})],
    "sde": [(SIT, {"steps": 2, "guidance": FREE}), (SIT, {"steps": 2, "method": "heun"})],
    "oracle": [
        (MASKED_AE, {"noise": {"kind": "additive", "std": 0.3}}),
        (MASKED_AE, {"noise": {"kind": "additive", "std": 0.3}, "masked": True}),
    ],
    "reconstruction": [(MASKED_AE, {"mask_ratio": 0.5, "noise": {"kind": "additive", "std": 0.3}})],
    "representation": [
        (MASKED_AE, {}),
        (MASKED_AE, {"where": {"kind": "prior", "tap": {"block": 1, "layer": 0}}}),
    ],
    "latents": [
        (MASKED_AE, {"of": {"kind": "data", "noise": {"kind": "additive", "std": 0.3}, "masked": True}}),
        (TARFLOW, {"of": {"kind": "prior", "sampler": {"kind": "inverse", "noise_temperature": 0.9}}}),
        (SIT, {"of": {"kind": "prior", "sampler": {"kind": "ode", "steps": 2}}}),
    ],
    "interpolation": [
        (MASKED_AE, {"pairs": 3, "steps": 3}),
        (TARFLOW, {"pairs": 2, "steps": 4, "space": "noise", "method": "spherical", "classes": "same"}),
    ],
    "band": [(MASKED_AE, {"band": "high", "window": 3, "noise": {"kind": "additive", "std": 0.3}})],
    "likelihood": [
        (TARFLOW, {"noise": {"kind": "uniform"}}),
        (ITARFLOW, {"noise": {"kind": "levels", "t": [0.1, 0.3]}, "check": {"count": 5, "denoise": LEVELS}}),
        (MASKED_AE, {"noise": {"kind": "gaussian", "std": 0.3}, "masked": True, "conditional": False}),
    ],
}
"""Systems and what is said of the output, by kind."""
DRAWN = ["inverse", "ode", "sde", "oracle", "reconstruction", "latents", "interpolation", "band"]
"""What has randomness of its own; features have none."""

CASES = [
    pytest.param(system, {"kind": kind, "ema": False} | fields, id=f"{kind}-{number}")
    for kind, examples in EXAMPLES.items()
    for number, (system, fields) in enumerate(examples)
]
every_output = pytest.mark.parametrize(("system", "output"), CASES)


class StopAt(io.StringIO):
    """Takes progress lines, and interrupts the job when so many batches are done."""

    def __init__(self, batches: int):
        super().__init__()
        self.batches = batches

    def write(self, text: str) -> int:
        if f"batch {self.batches}/" in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("project") / "data")


def setting(
    system: dict,
    output: dict,
    data: Artifact,
    work: Path,
    seed: int = 0,
    stream: io.StringIO | None = None,
    batch_size: int = 4,
) -> tuple[OutputSpec, Setting]:
    """An output's spec, and a trained system away from its start, to draw nine samples from or to see the data through, in batches of four."""
    modules = perturbed_modules(system).eval()
    spec: OutputSpec = OUTPUTS.spec(output["kind"]).model_validate(output)
    return spec, Setting(
        shapes=Shapes.model_validate(SHAPES),
        drawing=CONTENTS[spec.content].drawing(Samples(count=9, batch_size=batch_size)),
        seed=seed,
        modules=modules,
        weights="weights.safetensors",
        data=Prepared.open(data),
        device=torch.device("cpu"),
        work=work,
        progress=Progress("infer", interval=0.0, stream=stream or io.StringIO()),
        job="0" * 64,
    )


def written(spec: OutputSpec, place: Setting) -> dict[str, bytes]:
    """All that an output writes."""
    OUTPUTS.build(spec).write(place)
    return {path.name: path.read_bytes() for path in sorted((place.work / "out").iterdir())}


def test_every_kind_has_an_example() -> None:
    missing = missing_examples(OUTPUTS, EXAMPLES)
    assert not missing, f"add a tiny example of {missing} to EXAMPLES"


@every_output
def test_the_files_of_its_content_are_there(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    spec, place = setting(system, output, data, tmp_path / "work")
    content = CONTENTS[spec.content]
    assert {content.file, content.pictured} - {None} <= written(spec, place).keys()


@every_output
def test_the_same_seed_gives_the_same_bytes(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    once = written(*setting(system, output, data, tmp_path / "once"))
    torch.manual_seed(99)  # what others drew before is not its business
    assert once and written(*setting(system, output, data, tmp_path / "again")) == once


@pytest.mark.parametrize(("system", "output"), [case for case in CASES if case.values[1]["kind"] in DRAWN])
def test_another_seed_gives_other_images(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    one, other = (written(*setting(system, output, data, tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert one.keys() == other.keys()
    (file,) = one.keys() & {"samples.npz", "latents.npz"}
    assert one[file] != other[file]


@pytest.mark.parametrize(("system", "output"), [case for case in CASES if case.values[1]["kind"] in DRAWN])
def test_the_size_of_a_batch_changes_no_image(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    """But for rounding: sums over batches of other sizes may be added up in another order."""
    found = []
    for size in (2, 9):
        work = tmp_path / str(size)
        written(*setting(system, output, data, work, batch_size=size))
        if (file := work / "out" / "latents.npz").exists():
            found.append(read_latents(file))
        else:
            found.append(read_samples(work / "out" / "samples.npz"))
    (some, labels), (other, theirs) = found
    assert np.array_equal(labels, theirs)
    assert np.abs(some.astype(float) - other).max() <= (1e-5 if some.dtype == np.float32 else 1)


@every_output
@pytest.mark.slow
def test_an_interrupted_job_ends_in_the_same_bytes(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    whole = written(*setting(system, output, data, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        written(*setting(system, output, data, tmp_path / "work", stream=StopAt(2)))
    assert not (tmp_path / "work" / "out").exists()
    assert written(*setting(system, output, data, tmp_path / "work")) == whole


@every_output
def test_shards_end_in_the_bytes_of_one_job(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    spec, place = setting(system, output, data, tmp_path / "whole")
    whole = written(spec, place)
    for count in (2, 5):
        work = tmp_path / str(count)
        for part in reversed(range(1, count + 1)):
            shard_spec, shard_place = setting(system, output, data, work)
            OUTPUTS.build(shard_spec).draw(shard_place, Shard(part, count))
        assert not (work / "out").exists()
        # All is drawn: putting it together passes nothing through the networks but, for a shape, one image.
        lines = io.StringIO()
        assert written(*setting(system, output, data, work, stream=lines)) == whole
        assert "images/s" not in lines.getvalue()


@every_output
def test_the_system_is_left_as_it_was(system: dict, output: dict, data: Artifact, tmp_path: Path) -> None:
    spec, place = setting(system, output, data, tmp_path / "work")
    before = {name: tensor.clone() for name, tensor in place.modules.state_dict().items()}
    needs = [parameter.requires_grad for parameter in place.modules.parameters()]
    modes = [module.training for module in place.modules.modules()]
    written(spec, place)
    after = place.modules.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert [parameter.requires_grad for parameter in place.modules.parameters()] == needs
    assert [module.training for module in place.modules.modules()] == modes
    assert all(parameter.grad is None for parameter in place.modules.parameters())
