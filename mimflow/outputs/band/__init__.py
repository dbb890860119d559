"""Reconstructions of one band of frequencies of a split's images."""
