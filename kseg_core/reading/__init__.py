"""An image before its pixels are read, its pieces, and pixels that are kept for the second reading."""
