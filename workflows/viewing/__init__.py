"""Tasks that look at images of a finished store."""
