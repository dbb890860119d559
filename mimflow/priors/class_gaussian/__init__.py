"""One Gaussian per class, fitted in closed form: the baseline that every learned prior has to beat."""
