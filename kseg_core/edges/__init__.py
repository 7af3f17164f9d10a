"""Canny edges of an image too large to be held, window by window."""
