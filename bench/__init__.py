"""How fast: one command each, printing ratios against a baseline of the same run."""
