"""Outputs: how images are drawn from a trained system. Guidance and denoising live here too."""
