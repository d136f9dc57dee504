"""Networks that others trained, used at training time only."""
