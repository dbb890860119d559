"""The KL-VAE of LDM and MAR: convolutions to a grid of latents and back, with a learned or a fixed variance."""
