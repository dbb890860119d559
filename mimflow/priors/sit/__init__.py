"""SiT: a transformer that learns the velocity from noise to latents (Ma et al., arXiv 2401.08740)."""
