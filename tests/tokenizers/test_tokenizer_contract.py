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


@every_tokenizer
def test_training_sees_latents_of_the_same_shape_and_a_mask_over_the_grid_of_patches(spec: TokenizerSpec) -> None:
    tokenizer, shape, side = TOKENIZERS.build(spec, IMAGE), spec.latent_shape(IMAGE), spec.patch_grid(IMAGE)
    for masked in (False, True):
        latents, mask = tokenizer.encode_for_training(images(2), masked)
        assert latents.shape == (2, shape.tokens, shape.channels)
        if mask is not None:
            assert masked
            assert side is not None
            assert mask.dtype == torch.bool
            assert mask.shape == (2, side * side)


@every_tokenizer
def test_unmasked_training_is_what_evaluation_sees(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE).eval()
    latents, mask = tokenizer.encode_for_training(images(2), masked=False)
    assert mask is None
    assert torch.equal(latents, tokenizer.encode(images(2))) != spec.samples


@every_tokenizer
def test_posteriors_come_with_what_training_sees(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE).eval()
    torch.manual_seed(0)
    latents, _ = tokenizer.encode_for_training(images(2), masked=False)
    torch.manual_seed(0)
    encoded, posterior = tokenizer.encode_with_posterior(images(2), masked=False)
    assert torch.equal(encoded.latents, latents)
    for figure in (posterior.divergence(), posterior.entropy()) if posterior is not None else ():
        assert (figure is not None) == spec.learns_variance
        assert figure is None or figure.shape == (2,)


@every_tokenizer
def test_every_parameter_gets_a_gradient(spec: TokenizerSpec) -> None:
    torch.manual_seed(0)
    tokenizer = TOKENIZERS.build(spec, IMAGE).train()
    target = images(4)
    reconstruction = tokenizer.decode(tokenizer.encode_for_training(target, masked=True).latents)
    if list(tokenizer.parameters()):
        (reconstruction - target).square().mean().backward()
    without = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@every_tokenizer
def test_decoder_modules_are_what_only_decoding_uses(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE)
    names = tokenizer.decoder_modules()
    of_decoder = {f"{name}.{p}" for name in names for p, _ in tokenizer.get_submodule(name).named_parameters()}
    latents = torch.zeros(2, spec.latent_shape(IMAGE).tokens, spec.latent_shape(IMAGE).channels, requires_grad=True)
    tokenizer.decode(latents).square().sum().backward()
    assert {name for name, p in tokenizer.named_parameters() if p.grad is not None} == of_decoder
    tokenizer.zero_grad()
    encoded = tokenizer.encode(images(2).requires_grad_())
    encoded.square().sum().backward()
    assert not {name for name, p in tokenizer.named_parameters() if p.grad is not None} & of_decoder


@every_tokenizer
def test_the_last_layer_is_the_decoders(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE)
    assert spec.trainable == bool(tokenizer.decoder_modules()) == bool(list(tokenizer.parameters()))
    if spec.trainable:
        decoding = [p for name in tokenizer.decoder_modules() for p in tokenizer.get_submodule(name).parameters()]
        assert any(p is tokenizer.last_layer() for p in decoding)


@every_tokenizer
def test_every_representation_is_one_vector_an_image(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE).eval()
    assert "latents" in spec.representations
    for where in spec.representations:
        features = tokenizer.representation(images(3), where)
        assert features.dim() == 2
        torch.testing.assert_close(tokenizer.representation(images(3)[1:2], where), features[1:2])
    latents = tokenizer.encode(images(3))
    torch.testing.assert_close(tokenizer.representation(images(3), "latents"), latents.mean(1))
    with pytest.raises(ValueError, match="has no representation 'nowhere'"):
        tokenizer.representation(images(1), "nowhere")


@every_tokenizer
def test_it_can_be_built_and_run_without_memory(spec: TokenizerSpec) -> None:
    with torch.device("meta"):
        tokenizer = TOKENIZERS.build(spec, IMAGE).eval()
        latents = tokenizer.encode(torch.empty(2, IMAGE.channels, IMAGE.size, IMAGE.size))
        assert tokenizer.decode(latents).shape == images(2).shape
    assert all(tensor.is_meta for tensor in tokenizer.state_dict().values())


@pytest.mark.parametrize("spec", TOKENIZER_EXAMPLES["pixel"], ids=lambda spec: str(spec.patch_size))
def test_pixels_come_back_to_the_bit(spec: TokenizerSpec) -> None:
    tokenizer = TOKENIZERS.build(spec, IMAGE)
    assert torch.equal(tokenizer.decode(tokenizer.encode(images(2))), images(2))


def test_a_patch_that_does_not_divide_names_the_nearest_that_does() -> None:
    problems = list(TOKENIZER_EXAMPLES["pixel"][0].model_copy(update={"patch_size": 5}).image_problems(IMAGE))
    assert [problem.path for problem in problems] == [("patch_size",)]
    assert problems[0].message == "5 does not divide the image's 12 pixels"
    assert problems[0].hint in ("nearest that does: 4", "nearest that does: 6")
