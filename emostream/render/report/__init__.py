"""One page about what was seen in a file: who, when, which expressions, how far to trust it, and what made it."""
