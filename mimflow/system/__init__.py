"""A system: the networks that a spec names, and what they need to know of the data."""
