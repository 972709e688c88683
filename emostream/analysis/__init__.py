"""A whole analysis in this process: a source to its end, with what is made of its frames and events."""
