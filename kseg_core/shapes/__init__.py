"""Connected regions of labels: how large they are, and their outlines."""
