"""Features of images: of frozen networks that training looks at, and of extractors that metrics look through."""
