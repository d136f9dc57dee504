"""Wire bytes to utterance boundaries: codecs, resampling, framing, voice activity, endpoints, quality."""
