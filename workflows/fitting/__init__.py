"""All pixels, or what they come to, on the way to a model."""
