"""The spec language: strict, pure data, read from YAML with places. It knows no part and imports no torch."""
