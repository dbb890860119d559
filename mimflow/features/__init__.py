"""Frozen networks: pretrained ones whose features training looks at. Specs and the registry import no torch."""
