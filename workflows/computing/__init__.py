"""Where tasks run, how partial results merge, and what is done when processes die."""
