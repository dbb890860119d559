"""Metrics of what outputs hold."""
