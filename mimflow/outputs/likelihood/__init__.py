"""Likelihoods: how probable a trained flow finds the images of a split, each for itself."""
