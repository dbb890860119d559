"""The pixel tokenizer: patches of the image itself, no parameters, exactly invertible."""
