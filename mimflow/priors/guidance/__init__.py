"""Guidance of autoregressive priors: specs, and the rules that blocks ask while they sample."""
