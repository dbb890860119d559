"""Data sets: where images come from, how they are cut and split, and how prepared ones are read."""
