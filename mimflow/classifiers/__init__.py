"""Classifiers, trained by the workflow itself, that metrics take their features and labels from."""
