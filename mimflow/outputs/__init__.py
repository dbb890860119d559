"""Outputs: what is made of a trained system. Samplers of priors, reconstructions, representations."""
