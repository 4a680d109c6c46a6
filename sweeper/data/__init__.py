"""Images: decoded, cached, split, batched and augmented."""
