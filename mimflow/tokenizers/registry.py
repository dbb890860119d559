"""The tokenizers there are: one line each."""

from mimflow.spec.registry import Registry
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec
from mimflow.tokenizers.masked_ae.spec import MaskedAeSpec
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

TOKENIZERS = Registry(
    "tokenizer",
    (PixelTokenizerSpec, "mimflow.tokenizers.pixel.model:PixelTokenizer"),
    (MaskedAeSpec, "mimflow.tokenizers.masked_ae.model:MaskedAutoencoder"),
    (KlVaeSpec, "mimflow.tokenizers.kl_vae.model:KlVae"),
)
