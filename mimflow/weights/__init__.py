"""Weights from outside: given files, tensors that have to fit, public checkpoints."""
