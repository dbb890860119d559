"""Specs: strict, pure data, read from YAML. Nothing here imports torch."""
