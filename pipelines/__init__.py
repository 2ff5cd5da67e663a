"""How an image becomes the next tensor: pure transforms, each with its contract."""
