"""Command line of the workshop: `python -m training <stage> --config FILE [--out FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.bundle.manifest import BundleError
from training.checkpoint import CheckpointError
from training.config import ConfigError, load_config
from training.corpora.errors import CorpusError
from training.device import DeviceError
from training.distributed import WorldError
from training.engine import NonFiniteLossError
from training.export import ExportError
from training.run import STAGES, Run, StageMissingError
from training.run_config import RunConfig
from training.teachers.whisper import TeacherMissingError

REFUSED, FAILED = 2, 1
"""Exit codes: what was asked for can't be done; a stage gave up. Anything unforeseen keeps its traceback."""

REFUSALS = (
    ConfigError, CorpusError, TeacherMissingError, StageMissingError, CheckpointError, DeviceError, WorldError,
)  # fmt: skip
"""What can't be done as it was asked for."""
FAILURES = (NonFiniteLossError, ExportError, BundleError)


def main(arguments: list[str] | None = None) -> int:
    """Run one stage, or all of them (`run`)."""
    given = _parser().parse_args(arguments)
    out: Path = given.out or Path("runs") / given.config.stem
    try:
        config = load_config(given.config, RunConfig)
        run = Run(config, out, given.config.as_posix())
        ran = run.execute(tuple(STAGES) if given.stage == "run" else (given.stage,), again=given.again)
    except REFUSALS as error:
        return _fail(str(error), REFUSED)
    except FAILURES as error:
        return _fail(str(error), FAILED)
    print(
        f"{given.stage}: done in {out} ({', '.join(ran) or 'it was complete already; --again makes it anew'})"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=["run", *STAGES], help="`run` is all of them, in order")
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML, for example training/configs/run/default.yaml"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the run (default: runs/<name of the configuration>)"
    )
    parser.add_argument(
        "--again", action="store_true", help="first delete what this stage and those after it have written"
    )
    return parser


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
