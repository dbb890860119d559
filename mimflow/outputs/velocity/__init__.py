"""Sampling by integrating a velocity from noise to latents, as an ODE or as an SDE with the same marginals."""
