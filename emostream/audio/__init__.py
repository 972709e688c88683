"""The voice in the sound of a stream: speech, loudness, pitch, rate, pauses, arousal. Samples in, measurements out."""
