"""Corpora: manifests, labels, splits and one recipe per corpus, all with the verb `prepare`."""
