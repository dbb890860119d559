"""The plan: which jobs the specs ask for, their keys, and where their results lie. Nothing here imports torch."""
