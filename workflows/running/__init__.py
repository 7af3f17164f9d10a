"""A job from its request to what is told of it, going on where an earlier one was stopped."""
