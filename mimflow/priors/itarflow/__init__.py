"""iTARFlow: one TARFlow for a range of noise levels (Chen et al., arXiv 2604.20041)."""
