"""Ablations: one command each, figures with intervals, and the page that remembers them."""
