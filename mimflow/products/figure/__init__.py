"""Figures: measured values, logs, spectra and images, drawn in one style."""
