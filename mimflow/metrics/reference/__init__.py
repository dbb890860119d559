"""What images are compared with: a split of a data set, other images, or statistics of their features."""
