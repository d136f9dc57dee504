"""Who may do what, for which tenant: principals, keys, tokens and limits."""
