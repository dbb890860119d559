"""Objectives: what a phase of training minimises, and which players take part."""
