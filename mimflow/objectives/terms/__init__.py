"""Terms that objectives add up: pixels, perceptual distances, alignment, auxiliary decoders, a discriminator."""
