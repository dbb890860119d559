"""The tokenizers there are: one line each."""

from mimflow.registry import Registry
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

TOKENIZERS = Registry(
    "tokenizer",
    (PixelTokenizerSpec, "mimflow.tokenizers.pixel.model:PixelTokenizer"),
)
