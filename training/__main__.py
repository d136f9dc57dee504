"""Command line of the workshop: `python -m training <stage> --config FILE [--out FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.config import ConfigError, load_config
from training.corpora.errors import CorpusError
from training.run import STAGES, Run, RunConfig
from training.teachers.whisper import TeacherMissingError


def main(arguments: list[str] | None = None) -> int:
    """Run one stage, or all of them (`run`)."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=["run", *STAGES], help="`run` is all of them, in order")
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML, for example training/configs/run/default.yaml"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the run (default: runs/<name of the configuration>)"
    )
    given = parser.parse_args(arguments)
    out: Path = given.out or Path("runs") / given.config.stem
    try:
        config = load_config(given.config, RunConfig)
        run = Run(config, out, given.config.as_posix())
        run.execute(STAGES if given.stage == "run" else (given.stage,))
    except (ConfigError, CorpusError, TeacherMissingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"error: {error.filename} is missing: has the stage before this one run?", file=sys.stderr)
        return 2
    print(f"{given.stage}: done, in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
