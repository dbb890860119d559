"""The project: its kinds of spec, where they lie, what names what. Nothing here imports torch."""
