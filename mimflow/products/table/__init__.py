"""From measured numbers to tables: collected from manifests, set as Markdown, TeX, CSV and a picture, traced back.

Nothing here imports torch, and nothing here computes a metric: numbers are read from the store.
"""
