"""What lets a job go on where it was stopped, and no second one write beside it."""
