"""A real Asterisk in a folder of its own, as scripts/asterisk.sh unpacks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.server import ROOT, STOP_TIMEOUT_S, eventually

FOLDER_VARIABLE = "KOWAIRO_TEST_ASTERISK"
START_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 30.0
MODULES = (
    "res_timing_timerfd",
    "res_sorcery_config",
    "res_sorcery_memory",
    "res_http_websocket",
    "res_websocket_client",
    "chan_websocket",
    "res_audiosocket",
    "chan_audiosocket",
    "app_audiosocket",
    "app_dial",
    "app_playback",
    "app_senddtmf",
    "bridge_simple",
    "codec_ulaw",
    "format_sln",
    "pbx_config",
    "res_clioriginate",
)
"""No SIP, no manager, no HTTP: it listens nowhere but on a Unix socket of its own."""


def asterisk_folder() -> Path:
    """Where Asterisk is looked for."""
    return Path(os.environ.get(FOLDER_VARIABLE) or ROOT / "build" / "asterisk").resolve()


def missing() -> str | None:
    """Why there is no Asterisk to test with, and what to do about it; None when there is one."""
    folder = asterisk_folder()
    if not (folder / "usr/sbin/asterisk").exists():
        return f"NO REAL ASTERISK in {folder} ({FOLDER_VARIABLE} names another folder); get one with: make asterisk"
    if os.geteuid() != 0:
        return f"NO REAL ASTERISK: only root can chroot into {folder}; run the tests as root"
    return None


@dataclass(frozen=True, slots=True)
class Asterisk:
    """An Asterisk that is up. home: its own files, as it sees them; log: what it says, as this machine sees it."""

    folder: Path
    home: Path
    log: Path

    def command(self, line: str) -> str:
        """What its console answers."""
        words = [*_chrooted(self.folder, self.home), "-rx", line]
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        return done.stdout

    def said(self) -> str:
        """Everything on its console so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_asterisk(files: Mapping[str, str], sounds: Mapping[str, bytes]) -> Iterator[Asterisk]:
    """Asterisk with these files in its configuration, and these recordings in `${SOUNDS}`, once it has booted."""
    folder = asterisk_folder()
    (folder / "tmp").mkdir(exist_ok=True)
    outside = Path(tempfile.mkdtemp(dir=folder / "tmp"))
    asterisk = Asterisk(folder, Path("/") / outside.relative_to(folder), outside / "console.log")
    try:
        _write(asterisk, outside, files, sounds)
        words = [*_chrooted(folder, asterisk.home), "-f", "-n", "-vvv"]
        with (
            asterisk.log.open("wb") as log,
            subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                _wait_until_booted(asterisk, process)
                yield asterisk
            finally:
                process.terminate()
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
    finally:
        shutil.rmtree(outside)


def _chrooted(folder: Path, home: Path) -> list[str]:
    return ["chroot", str(folder), "/usr/sbin/asterisk", "-C", f"{home}/etc/asterisk.conf"]


def _write(asterisk: Asterisk, outside: Path, files: Mapping[str, str], sounds: Mapping[str, bytes]) -> None:
    for name in ("etc", "run", "log", "var", "spool", "sounds"):
        (outside / name).mkdir()
    home = asterisk.home
    own = {
        "asterisk.conf": (
            f"[directories]\nastetcdir => {home}/etc\nastvarlibdir => {home}/var\nastdbdir => {home}/var\n"
            f"astspooldir => {home}/spool\nastrundir => {home}/run\nastlogdir => {home}/log\n"
        ),
        "logger.conf": "[logfiles]\nconsole => notice,warning,error,verbose\n",
        "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {name}.so\n" for name in MODULES),
    }
    for name, text in (own | dict(files)).items():
        (outside / "etc" / name).write_text(text.replace("${SOUNDS}", f"{home}/sounds"), encoding="utf-8")
    for name, data in sounds.items():
        (outside / "sounds" / name).write_bytes(data)


def _wait_until_booted(asterisk: Asterisk, process: subprocess.Popen[bytes]) -> None:
    def booted() -> bool | None:
        if process.poll() is not None:
            raise AssertionError(f"Asterisk has ended by itself: {asterisk.said()}")
        return "fully booted" in asterisk.command("core waitfullybooted") or None

    eventually(booted, START_TIMEOUT_S)
