"""The HTML report of an analysed source: people, timelines, expressions, quality and provenance."""
