"""Products: what is rendered from results, one folder a kind."""
