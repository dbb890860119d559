"""Reconstructions: the images of a split, encoded and decoded again."""
