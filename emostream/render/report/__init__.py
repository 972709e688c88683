"""A page about one analysed source: people, times, expressions, reliability and provenance."""
