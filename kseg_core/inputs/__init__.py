"""Which files a job is about: listed, named, told from what is no image, each with what belongs to it."""
