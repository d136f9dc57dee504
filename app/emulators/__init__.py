"""The other side of every wire: carriers as they really speak, for users, tests and load (`app.emulators.base`)."""
