"""Networks only: torch modules without I/O, logging or loops."""
