"""Metrics over samples, and the feature extractors that they look through."""
