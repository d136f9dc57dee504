"""Redis as it is kept in."""
