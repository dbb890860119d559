"""What the specs of objectives with reconstructions refuse."""

from __future__ import annotations

from typing import Any

import pytest
from joint_parts import AUXILIARY, IMAGE, PLAIN, spec_of
from training_parts import (
    DECODER,
    GAUSSIAN,
    JOINT,
    KL_VAE,
    MASKED_AE,
    NETWORK,
)

from mimflow.spec.base import all_problems
from mimflow.system.spec import System


def problems(objective: dict[str, Any], system: dict[str, Any]) -> list[tuple[Any, ...]]:
    spec = spec_of(objective)
    made = System.model_validate(system)
    return [(*problem.path, problem.message) for problem in (*all_problems(spec), *spec.system_problems(made, IMAGE))]


UNMASKED = MASKED_AE | {"tokenizer": MASKED_AE["tokenizer"] | {"mask": {"kind": "none"}}}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("objective", "system", "wanted"),
    [
        (JOINT, MASKED_AE, []),
        (
            PLAIN | {"masked": False, "auxiliary": [AUXILIARY]},
            MASKED_AE,
            [("auxiliary", 0, "mask_only", "only masked patches count, and none is masked")],
        ),
        (
            PLAIN | {"auxiliary": [AUXILIARY]},
            UNMASKED,
            [("auxiliary", 0, "mask_only", "only masked patches count, and the tokenizer masks none")],
        ),
        (PLAIN | {"masked": False, "auxiliary": [AUXILIARY | {"mask_only": False}]}, UNMASKED, []),
        (
            PLAIN | {"auxiliary": [AUXILIARY | {"heads": 4}]},
            MASKED_AE,
            [("auxiliary", 0, "heads", "4 heads do not cut the width 8 into multiples of 4")],
        ),
        (
            PLAIN | {"alignment": [{"network": NETWORK | {"input_size": 12}}]},
            MASKED_AE,
            [("alignment", 0, "mode", "4 tokens can't be repeated to the 9 places of the network's map")],
        ),
        (
            PLAIN | {"alignment": [{"network": NETWORK, "where": {"kind": "prior", "block": 2, "layer": 0}}]},
            MASKED_AE,
            [("alignment", 0, "where", "block", "there is no block 2 among 2")],
        ),
        (
            PLAIN | {"alignment": [{"network": NETWORK, "where": {"kind": "prior", "block": 0, "layer": 0}}]},
            MASKED_AE | {"prior": {"kind": "class_gaussian"}},
            [
                ("kind", "prior 'class_gaussian' has no parameters to train by steps"),
                ("alignment", 0, "where", "the prior 'class_gaussian' has no layers"),
            ],
        ),
        (
            PLAIN
            | {
                "alignment": [
                    {"network": NETWORK, "where": {"kind": "prior", "block": block, "layer": 0}} for block in (0, 1)
                ]
            },
            MASKED_AE,
            [("alignment", 1, "where", "another layer of the prior than that above")],
        ),
        (
            PLAIN,
            GAUSSIAN,
            [
                ("kind", "the tokenizer 'pixel' has no decoder to train"),
                ("kind", "prior 'class_gaussian' has no parameters to train by steps"),
            ],
        ),
        (
            PLAIN | {"adversarial": {"layers": 3}},
            MASKED_AE,
            [("adversarial", "layers", "images of 8 pixels are too small for so many")],
        ),
        (
            PLAIN
            | {
                "encoder": "frozen",
                "prior_gradient_from": 0.5,
                "alignment": [{"network": NETWORK}],
                "auxiliary": [AUXILIARY],
            },
            MASKED_AE,
            [
                ("prior_gradient_from", "no gradient reaches a frozen encoder"),
                ("alignment", 0, "where", "aligns the latents of a frozen encoder"),
                ("auxiliary", 0, "predicts from the latents of a frozen encoder"),
            ],
        ),
        (
            PLAIN
            | {
                "encoder": "frozen",
                "alignment": [{"network": NETWORK, "where": {"kind": "prior", "block": 0, "layer": 0}}],
            },
            MASKED_AE,
            [],
        ),
        (PLAIN | {"noise": {"kind": "none"}, "entropy_weight": 1.0}, KL_VAE, []),
        (
            PLAIN | {"entropy_weight": 1.0, "prior_gradient_from": 0.5},
            MASKED_AE,
            [
                ("entropy_weight", "the entropy is the posterior's, and noise is added to its draws"),
                ("prior_gradient_from", "the entropy alone, without the prior's gradient, has no bound"),
                ("entropy_weight", "the tokenizer draws from no posterior of its own, so there is no entropy"),
            ],
        ),
        (
            PLAIN | {"noise": {"kind": "none"}, "entropy_weight": 1.0, "encoder": "frozen"},
            KL_VAE,
            [("entropy_weight", "the entropy of a frozen encoder's posterior is constant")],
        ),
        (
            DECODER | {"adversarial": {"layers": 3}},
            MASKED_AE,
            [("adversarial", "layers", "images of 8 pixels are too small for so many")],
        ),
    ],
)
def test_problems_have_their_place(
    objective: dict[str, Any], system: dict[str, Any], wanted: list[tuple[Any, ...]]
) -> None:
    assert problems(objective, system) == wanted
