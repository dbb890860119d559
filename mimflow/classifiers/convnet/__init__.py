"""A small convolutional classifier."""
