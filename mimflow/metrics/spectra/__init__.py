"""Latents and images under the microscope: spectra, autocorrelation, patch borders, bands."""
