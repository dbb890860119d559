"""Training: one loop for every objective, that resumes to the bit."""
