"""Edges of images, large ones piece by piece."""
