"""The masked autoencoder: learned queries read an image, parts of it hidden, into a 1-D sequence of latents."""
