"""Recordings to training batches: the audio cache, the simulated telephone line, tokens."""
