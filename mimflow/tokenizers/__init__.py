"""Tokenizers turn images into latents and back. Specs and the registry import no torch; implementations do."""
