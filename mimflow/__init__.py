"""mimflow: a declarative experiment system for generative-model papers, with latent normalizing flows built in."""

__version__ = "0.1.0"
