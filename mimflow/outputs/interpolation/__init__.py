"""Interpolations: the way from one image's latents to another's, decoded."""
