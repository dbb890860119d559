"""TARFlow: a transformer autoregressive flow over tokens (Zhai et al., arXiv 2412.06329)."""
