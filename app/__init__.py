"""Kowairo's serving half: telephone audio in, one scored record per utterance out. Never torch."""
