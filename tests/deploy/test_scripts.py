"""The scripts behind make: what they install, and what they say when they cannot do their work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import ROOT

TOOLS = ("cat", "chmod", "dirname", "env", "grep", "head", "mkdir", "rm", "sed", "sh", "tail", "touch", "tr")

PYTHON = '#!/bin/sh\ncase "$*" in *"pip show"*) exit 1 ;; *) exit 0 ;; esac\n'


class Machine:
    """A machine of a few programs, some of them made up, to run `scripts/setup.sh` on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bin = folder / "bin"
        self._bin.mkdir()
        for tool in TOOLS:
            program = shutil.which(tool)
            assert program is not None
            (self._bin / tool).symlink_to(program)
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        self.script(folder / "venv" / "bin" / "python", PYTHON)
        self.has("id", "echo 1000")

    def script(self, path: Path, text: str) -> None:
        """A program that this machine has."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def has(self, name: str, body: str = "exit 0") -> None:
        """A made-up program on its path."""
        self.script(self._bin / name, f"#!/bin/sh\n{body}\n")

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs setup.sh on it."""
        return subprocess.run(
            [shutil.which("sh") or "sh", "scripts/setup.sh", str(self.folder / "venv"), *arguments],
            cwd=self.folder,
            env={"PATH": str(self._bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def log_root(self) -> Path:
        """Makes whoever runs the script root, and writes down what root would be asked to do instead of doing it."""
        log = self.folder / "root.log"
        self.has("id", "echo 0")
        self.has("apt-get")
        self.has("env", f'echo "$*" >>{log}; cat >>{log}')
        return log


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One with a virtual environment, no root, and neither promtool nor redis-server."""
    return Machine(tmp_path)


def test_serving_needs_no_package_of_the_tests(machine: Machine) -> None:
    """`make run` installs nothing on the system where Python has its venv."""
    log = machine.log_root()
    done = machine.setup("cpu")
    assert done.returncode == 0, done.stderr
    assert not log.exists()


def test_tests_get_what_is_missing(machine: Machine) -> None:
    """As root: the lists are renewed before anything is installed, and no daemon is started by it, now or at boot."""
    log = machine.log_root()
    machine.has("redis-server")
    done = machine.setup("cpu", "train,dev")
    assert done.returncode == 0, done.stderr
    text = log.read_text(encoding="utf-8")
    assert text.startswith("DEBIAN_FRONTEND=noninteractive sh -s -- prometheus\n")
    assert text.index("exit 101") < text.index("apt-get update") < text.index("apt-get install")
    assert text.index("apt-get install") < text.index("systemctl disable")


def test_tests_need_nothing_where_all_is_there(machine: Machine) -> None:
    """Nothing is asked of root when every program is found."""
    log = machine.log_root()
    machine.has("redis-server")
    machine.has("promtool")
    assert machine.setup("cpu", "train,dev").returncode == 0
    assert not log.exists()


def test_without_root_the_packages_are_named_and_setup_goes_on(machine: Machine) -> None:
    """Neither root nor sudo: one line to copy, and the tests that need them are skipped."""
    machine.has("apt-get")
    done = machine.setup("cpu", "train,dev")
    assert done.returncode == 0, done.stderr
    assert "sudo apt-get install -y prometheus redis-server" in done.stderr
    assert "going on without" in done.stderr
    assert "installing kowairo[cpu,train,dev]" in done.stderr


def test_a_mirror_that_fails_does_not_stop_setup(machine: Machine) -> None:
    """Without a network the tests that need these programs are skipped, and the rest runs."""
    machine.log_root()
    machine.has("env", "cat >/dev/null; exit 100")
    done = machine.setup("cpu", "train,dev")
    assert done.returncode == 0, done.stderr
    assert "apt-get could not install: prometheus redis-server" in done.stderr
    assert "going on without" in done.stderr


def test_another_system_is_told_what_it_lacks(machine: Machine) -> None:
    """No apt-get: the names of Debian's packages, and on."""
    done = machine.setup("cpu", "train,dev")
    assert done.returncode == 0, done.stderr
    assert "no apt-get here; install what your system calls: prometheus redis-server" in done.stderr


def audit(folder: Path, report: dict[str, object] | None) -> subprocess.CompletedProcess[str]:
    """Runs audit.sh with a pip-audit that gives this report, or could not reach its service."""
    python = folder / "build" / "audit-tool" / "bin" / "python"
    python.parent.mkdir(parents=True)
    given = folder / "report.json"
    given.write_text(json.dumps(report), encoding="utf-8")
    write = f'cat {given} >"$output"; exit 1' if report is not None else "echo 'no route to host' >&2; exit 1"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '*"pip install"*) exit 0 ;;\n'
        '*pip_audit*) while [ "$1" != --output ]; do shift; done; output=$2; ' + write + " ;;\n"
        f'*) exec {sys.executable} "$@" ;;\n'
        "esac\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / "audit.sh"), "venv"],
        cwd=folder,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )


def package(name: str, **more: object) -> dict[str, object]:
    """What pip-audit says of a package."""
    return {"name": name, **({"version": "1.0", "vulns": []} | more if "skip_reason" not in more else more)}


def test_an_audit_that_finds_nothing_passes(tmp_path: Path) -> None:
    """Both locks are looked up; pip-audit's own exit code is not what decides."""
    done = audit(tmp_path, {"dependencies": [package("numpy")]})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 packages, 0 not found, 0 known vulnerabilities") == 2


def test_a_vulnerable_package_is_named(tmp_path: Path) -> None:
    """With the fault and the version that mends it."""
    fault = {"id": "CVE-2030-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
    done = audit(tmp_path, {"dependencies": [package("numpy", vulns=[fault]), package("soxr")]})
    assert done.returncode == 1
    assert "numpy 1.0: CVE-2030-1, fixed in 1.1" in done.stdout


def test_a_package_that_the_service_does_not_know_fails_the_audit(tmp_path: Path) -> None:
    """What was not looked up is not called safe."""
    done = audit(tmp_path, {"dependencies": [package("numpy"), package("soxr", skip_reason="not found")]})
    assert done.returncode == 1
    assert "soxr: not found" in done.stdout


@pytest.mark.parametrize("report", [None, {"dependencies": [package("numpy", skip_reason="not found")]}])
def test_an_audit_that_could_not_ask_says_so(tmp_path: Path, report: dict[str, object] | None) -> None:
    """No service, or one that knows nothing: another exit code, and no line that could be taken for a pass."""
    done = audit(tmp_path, report)
    assert done.returncode == 2
    assert "NOT" in done.stderr
