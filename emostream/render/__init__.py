"""Draws boxes, track ids and emotions on frames; writes annotated pictures, videos and reports."""
