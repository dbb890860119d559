"""Sampling by running a flow backwards, with steps along its own score after it."""
