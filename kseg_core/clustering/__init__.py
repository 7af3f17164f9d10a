"""K-means on what a chunk is worth: exact summaries, features, steps, the solver, labels."""
