"""Representations: features of a data set's images, for a linear probe."""
