"""`receipt verify` needs nothing but the receipt and the key, and believes neither."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.exits import ExitCode
from app.cli.parser import main
from app.privacy.receipts import ReceiptSigner

SIGNER = ReceiptSigner(bytes(range(32)), ephemeral=False)
BODY = {"id": "e1", "completed_at": "2026-01-01T00:00:00.000Z", "counts": {"calls": 2, "records": 7}}


def verify(folder: Path, receipt: object, key: str = SIGNER.public_key) -> int:
    """The exit code for a receipt in a file."""
    path = folder / "receipt.json"
    path.write_text(json.dumps(receipt), encoding="utf-8")
    return main(["receipt", "verify", str(path), "--key", key])


@pytest.mark.parametrize("wrap", [lambda receipt: receipt, lambda receipt: {"id": "e1", "receipt": receipt}])
def test_a_genuine_receipt(tmp_path: Path, capsys: pytest.CaptureFixture[str], wrap: Any) -> None:
    """Alone, or as a route answered it."""
    assert verify(tmp_path, wrap(SIGNER.sign(BODY))) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out == "genuine: erasure e1 of 2026-01-01T00:00:00.000Z: 2 calls, 7 records\n"
    assert err == ""


def test_one_of_a_fleeting_key_proves_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And it says so."""
    signer = ReceiptSigner(bytes(32), ephemeral=True)
    assert verify(tmp_path, signer.sign(BODY), signer.public_key) == ExitCode.DONE
    assert "proves little" in capsys.readouterr().err


@pytest.mark.parametrize("receipt", [{**SIGNER.sign(BODY), "id": "e2"}, {}, [], None, {"receipt": {}}])
def test_what_is_not_genuine(tmp_path: Path, capsys: pytest.CaptureFixture[str], receipt: object) -> None:
    """One line that says why."""
    assert verify(tmp_path, receipt) == ExitCode.FAILED
    assert "not genuine" in capsys.readouterr().err


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file, and no JSON in it."""
    path = tmp_path / "x"
    assert main(["receipt", "verify", str(path), "--key", SIGNER.public_key]) == ExitCode.FAILED
    path.write_text("{", encoding="utf-8")
    assert main(["receipt", "verify", str(path), "--key", SIGNER.public_key]) == ExitCode.FAILED
    assert "expected JSON" in capsys.readouterr().err


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As the end of a pipe."""
    raw = io.TextIOWrapper(io.BytesIO(json.dumps(SIGNER.sign(BODY)).encode()))
    monkeypatch.setattr("sys.stdin", raw)
    assert main(["receipt", "verify", "-", "--key", SIGNER.public_key]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("genuine")
