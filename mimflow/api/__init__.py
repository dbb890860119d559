"""mimflow in Python: a trained system, the numbers of a table, a spec."""
