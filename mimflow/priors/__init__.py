"""Priors: densities over a tokenizer's latents. Specs and the registry import no torch; implementations do."""
