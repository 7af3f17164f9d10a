"""The best clustering for every k, and which k to take."""
