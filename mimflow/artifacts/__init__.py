"""Artifacts: folders of files with a manifest that says what they are and what they were made from."""
