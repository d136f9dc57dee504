"""How calls arrive: one sans-I/O file per protocol, all to the same events (`docs/protocol.md`)."""
