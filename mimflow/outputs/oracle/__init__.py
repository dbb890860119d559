"""The oracle: what a perfect prior would give through the decoder."""
