"""How a command ends: the one error it may raise, and the exit codes (`docs/operations.md` lists them)."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `python -m app`."""

    DONE = 0
    FAILED = 1
    """Some input could not be used, or a call ended before its time; stderr names it."""
    USAGE = 2
    BUNDLE = 3
    """The bundle was refused."""
    SETTINGS = 4
    """An environment variable or an option cannot be used."""
    ADDRESS = 5
    """The address to listen on is not free, or not this machine's."""
    INTERRUPTED = 130


class CliError(Exception):
    """A command cannot go on; its message is for people, on one line where possible."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
