"""Sources of images: those that come with packages, and the user's own."""
