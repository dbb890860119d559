"""The STARFlow family: deep-shallow transformer flows over latents (Gu et al., arXiv 2506.06276)."""
