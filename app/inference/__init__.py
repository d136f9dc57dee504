"""From tokens to records: tokenizer, encoder, head, line profile, calibration and the scorer."""
