"""AudioHook (Genesys): the parser and its authentication."""
