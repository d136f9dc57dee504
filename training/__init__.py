"""The workshop: from corpora to the bundle, in stages that meet only through files. Needs torch."""
