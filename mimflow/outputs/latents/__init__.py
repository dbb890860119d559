"""Latents: what an encoder makes of a data set's images, or what a prior draws."""
