"""Explains a classifier's answer for a face. Black-box methods: any engine, any model, no gradients."""
