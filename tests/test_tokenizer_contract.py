"""What every registered tokenizer must do."""

from __future__ import annotations

import pytest
import torch
from parts import IMAGE, TOKENIZER_EXAMPLES, flattened, label_of, missing_examples

from mimflow.tokenizers.registry import TOKENIZERS
from mimflow.tokenizers.spec import TokenizerSpec

every_tokenizer = pytest.mark.parametrize("spec", flattened(TOKENIZER_EXAMPLES), ids=label_of)


def images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, IMAGE.channels, IMAGE.size, IMAGE.size, generator=generator) * 2 - 1


def test_every_kind_has_an_example() -> None:
    missing = missing_examples(TOKENIZERS, TOKENIZER_EXAMPLES)
    assert not missing, f"add a tiny example of {missing} to TOKENIZER_EXAMPLES in tests/parts.py"


@every_tokenizer
def test_shapes_are_those_that_the_spec_promises(spec: TokenizerSpec) -> None:
    assert not list(spec.image_problems(IMAGE))
    tokenizer, shape = TOKENIZERS.build(spec, IMAGE).eval(), spec.latent_shape(IMAGE)
    latents = tokenizer.encode(images(2))
    assert latents.shape == (2, shape.tokens, shape.channels)
    assert tokenizer.decode(latents).shape == images(2).shape


@every_tokenizer
def test_samples_of_a_batch_are_independent(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE).eval()
    latents = tokenizer.encode(images(3))
    torch.testing.assert_close(tokenizer.encode(images(3)[1:2]), latents[1:2])
    torch.testing.assert_close(tokenizer.decode(latents[1:2]), tokenizer.decode(latents)[1:2])


@pytest.mark.parametrize("spec", TOKENIZER_EXAMPLES["pixel"], ids=lambda spec: str(spec.patch_size))
def test_pixels_come_back_to_the_bit(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE)
    assert torch.equal(tokenizer.decode(tokenizer.encode(images(2))), images(2))


def test_a_patch_that_does_not_divide_names_the_nearest_that_does() -> None:
    problems = list(TOKENIZER_EXAMPLES["pixel"][0].model_copy(update={"patch_size": 5}).image_problems(IMAGE))
    assert [problem.path for problem in problems] == [("patch_size",)]
    assert problems[0].message == "5 does not divide the image's 12 pixels"
    assert problems[0].hint in ("nearest that does: 4", "nearest that does: 6")
