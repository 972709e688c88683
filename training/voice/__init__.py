"""Trains the model of the voice's arousal (`emostream/audio/arousal.py`)."""
