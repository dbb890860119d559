"""What terms know of a network's features: their mean, which is taken off where asked, and what a constant would give."""

from __future__ import annotations

import math

import pytest
import torch
from joint_parts import AUXILIARY, PLAIN, batch, build, loss_of
from torch import Tensor
from torch.nn import functional as F
from training_parts import MASKED_AE, NETWORK, perturbed_modules

from mimflow.features.networks import FrozenNetwork
from mimflow.features.spec import EfficientnetLite0Spec
from mimflow.objectives.base import Batch
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.alignment import Aligner
from mimflow.objectives.terms.auxiliary import AuxiliaryDecoder
from mimflow.objectives.terms.spec import Alignment, Auxiliary
from mimflow.objectives.terms.supervision import BestConstant
from mimflow.spec.shapes import LatentShape

pytestmark = pytest.mark.slow

SPEC = EfficientnetLite0Spec.model_validate(NETWORK)  # 4 × 4 places, 24 features


def in_plane(count: int, places: int, spread: float) -> Tensor:
    """Vectors (count, places, 2) of all lengths, whose directions scatter around one of each place's own."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.arange(places) + spread * torch.randn(count, places, generator=generator)
    lengths = 0.1 + 3 * torch.rand(count, places, generator=generator)
    return lengths[..., None] * torch.stack([angles.cos(), angles.sin()], -1)


def searched(targets: Tensor) -> float:
    """The least mean of −cos that one direction of the plane has with targets (N, 2), of 20,000 directions."""
    angles = torch.linspace(0, 2 * math.pi, 20_000)
    directions = torch.stack([angles.cos(), angles.sin()], 1)
    return float((-F.normalize(targets, dim=1) @ directions.T).mean(0).min())


def test_the_best_constant_by_hand() -> None:
    constant = BestConstant(1, 2)
    targets = torch.tensor([[[3.0, 0.0]], [[0.0, 0.5]]])
    assert constant.distance(targets).eq(0).all(), "nothing has been seen"
    constant.see(targets)
    assert constant.mean.tolist() == [[0.5, 0.5]]
    torch.testing.assert_close(constant.distance(targets), torch.full((2, 1), -math.sqrt(0.5)))
    torch.testing.assert_close(constant.distance(targets).mean(), -constant.mean.norm())


@pytest.mark.parametrize("spread", [0.2, 1.0, 3.0])
def test_the_best_constant_is_what_a_search_finds(spread: float) -> None:
    targets = in_plane(400, 3, spread)
    constant = BestConstant(3, 2)
    for part in targets.split(70):
        constant.see(part)
    found = constant.distance(targets).mean(0)
    for place in range(3):
        assert found[place].item() == pytest.approx(searched(targets[:, place]), abs=1e-4)
    torch.testing.assert_close(found, -constant.mean.norm(dim=1))


def test_a_constant_that_stands_for_places_in_a_row_is_what_a_search_finds() -> None:
    targets = in_plane(300, 4, 0.7)
    constant = BestConstant(2, 2)
    constant.see(targets)
    found = constant.distance(targets).mean(0)
    assert found[:2].mean().item() == pytest.approx(searched(targets[:, :2].flatten(0, 1)), abs=1e-4)
    assert found[2:].mean().item() == pytest.approx(searched(targets[:, 2:].flatten(0, 1)), abs=1e-4)


def alignment(tokens: int = 16, **changes: object) -> Aligner:
    return Aligner(Alignment.model_validate({"network": NETWORK, "projector": [8]} | changes), 6, tokens)


def auxiliary(**changes: object) -> AuxiliaryDecoder:
    return AuxiliaryDecoder(Auxiliary.model_validate(AUXILIARY | changes), LatentShape(5, 6), grid=4)


def test_the_constant_learns_in_training_alone_from_what_it_was_judged_by() -> None:
    align = alignment()
    tokens, features = torch.randn(2, 16, 6), torch.randn(2, 16, 24)
    assert align(tokens, features).constant == 0
    learned = align.constant.mean.clone()
    torch.testing.assert_close(learned, F.normalize(features, dim=-1).mean(0))
    others = torch.randn(5, 16, 24)
    expected = -F.cosine_similarity(learned[None], others, dim=-1).mean()
    for mode in (False, True):
        torch.testing.assert_close(align.train(mode)(torch.randn(5, 16, 6), others).constant, expected)
        assert align.constant.mean.equal(learned) != mode
    assert align.constant.seen == 7
    again = alignment()
    again.load_state_dict(align.state_dict())
    assert again.constant.seen == 7 and again.constant.mean.equal(align.constant.mean)


@pytest.mark.parametrize(
    ("mode", "tokens", "places"), [("repeat", 8, 8), ("repeat", 16, 16), ("average", 8, 8), ("average", 32, 16)]
)
def test_a_constant_for_each_place_that_tokens_meet(mode: str, tokens: int, places: int) -> None:
    align = alignment(tokens, mode=mode)
    assert align.constant.mean.shape == (places, 24)
    features = torch.randn(1, 16, 24).repeat_interleave(1 if places == 16 else 2, 1)[:, :16].expand(3, -1, -1)
    for _ in range(2):
        found = align(torch.randn(3, tokens, 6), features).constant
    assert found.item() == pytest.approx(-1, abs=1e-6), "images are all the same"


def test_only_masked_places_count_for_the_constant_too() -> None:
    decoder = auxiliary()
    features = torch.randn(2, 16, 24)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, 3] = mask[1, 7] = True
    decoder(torch.randn(2, 5, 6), features, mask)
    expected = -F.cosine_similarity(decoder.constant.mean[None], features, dim=-1)[mask].mean()
    torch.testing.assert_close(decoder.eval()(torch.randn(2, 5, 6), features, mask).constant, expected)
    everywhere = auxiliary(mask_only=False)
    everywhere.load_state_dict(decoder.state_dict())
    expected = -F.cosine_similarity(decoder.constant.mean[None], features, dim=-1).mean()
    torch.testing.assert_close(everywhere.eval()(torch.randn(2, 5, 6), features, None).constant, expected)


# -- centred targets -------------------------------------------------------------------------------------------------


def with_features(features: Tensor) -> Batch:
    """Black images with these stored features (B, 16, 24)."""
    count = len(features)
    return Batch(torch.zeros(count, 1, 8, 8), torch.zeros(count), torch.arange(count), {SPEC.name: features})


def test_means_are_of_all_images_by_hand() -> None:
    ones = torch.ones(16, 24)
    ramp = torch.arange(16.0)[:, None] + 100 * torch.arange(24.0)
    parts = [with_features(torch.stack([ones, 3 * ones])), with_features((5 * ones + ramp)[None])]
    means = Targets().means([SPEC, SPEC], parts)
    assert means.keys() == {SPEC.name}
    torch.testing.assert_close(means[SPEC.name].float(), 3 * ones + ramp / 3)


@pytest.mark.parametrize("kind", ["alignment", "auxiliary"])
def test_centred_targets_leave_a_constant_nothing(kind: str) -> None:
    torch.manual_seed(0)
    features = 5 * torch.rand(16, 24) + torch.randn(1000, 16, 24)
    figures = []
    for centred in (False, True):
        term = alignment(centred=centred) if kind == "alignment" else auxiliary(centred=centred, mask_only=False)
        given = (
            (torch.zeros(1000, 16, 6), features) if kind == "alignment" else (torch.zeros(1000, 5, 6), features, None)
        )
        if centred:
            term.centre_on(features.mean(0))
        term(*given)
        figures.append(term.eval()(*given).constant.item())
    assert figures[0] < -0.9
    assert figures[1] == pytest.approx(0, abs=0.05)


def test_the_mean_is_taken_off_before_the_cosine() -> None:
    align = alignment(centred=True)
    mean, features = torch.randn(16, 24), torch.randn(3, 16, 24)
    align.centre_on(mean)
    tokens = torch.randn(3, 16, 6)
    expected = -F.cosine_similarity(align.projector(tokens), features - mean, dim=-1).mean()
    torch.testing.assert_close(align(tokens, features).own, expected)
    assert "centre" not in alignment().state_dict() and "centre" in align.state_dict()


def test_an_objective_learns_the_means_of_the_terms_that_are_centred(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = {
        "alignment": [{"network": NETWORK, "projector": [8], "centred": True}, {"network": NETWORK, "projector": [8]}],
        "auxiliary": [AUXILIARY | {"centred": True}],
    }
    features = torch.randn(5, 16, 24)
    objective = build(PLAIN | terms, perturbed_modules(MASKED_AE))
    objective.prepare([with_features(features[:3]), with_features(features[3:])])
    for term in (objective.aligners[0], objective.auxiliary[0]):
        torch.testing.assert_close(term.centre, features.mean(0))
    assert objective.aligners[1].centre is None
    state = objective.state()
    assert state["objective.aligners.0.centre"].equal(objective.aligners[0].centre)
    other = build(PLAIN | terms, perturbed_modules(MASKED_AE))
    other.load_state(state)
    torch.testing.assert_close(loss_of(other.eval())[1], loss_of(objective.eval())[1])
    # What is not stored is computed.
    other.prepare([batch(4)])
    torch.testing.assert_close(other.aligners[0].centre, Targets().of_images(SPEC, batch(4).images).mean(0))


def test_without_centred_terms_no_image_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrozenNetwork, "features", lambda *_: pytest.fail("asked"))
    build(PLAIN | {"alignment": [{"network": NETWORK, "projector": [8]}]}).prepare([batch(4)])


def test_the_constants_figures_stand_beside_the_terms() -> None:
    terms = {"alignment": [{"network": NETWORK, "projector": [8]}] * 2, "auxiliary": [AUXILIARY]}
    _, figures = loss_of(build(PLAIN | terms))
    assert {"alignment_0", "alignment_1", "auxiliary"} < figures.keys()
    assert {"alignment_0_constant", "alignment_1_constant", "auxiliary_constant"} < figures.keys()
