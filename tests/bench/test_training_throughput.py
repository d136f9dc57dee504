"""The bench of training measures the real loop, scales by plain arithmetic, and fills the marked place of a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.training_throughput import BEGIN, CONFIG, END, Throughput, main, measure, render, write_between
from training.config import load_config
from training.run_config import RunConfig

DEBUG = CONFIG.with_name("debug.yaml")
PAGE = CONFIG.parents[3] / "docs" / "stages" / "scale.md"


def test_steps_are_measured() -> None:
    """A few steps of the debug configuration: a rate, a count of operations that is plausible for the network."""
    config = load_config(DEBUG, RunConfig)
    found = measure(config.pretrain, config.tokenizer.model, 5)
    assert found.frames_per_second > 0
    assert found.batch_frames == 200
    assert found.steps == 2
    assert found.precision == "float32"
    assert 0.2 * found.parameters < found.flops_per_frame < 20 * found.parameters


def test_scaling_is_arithmetic() -> None:
    """1,000 hours are 90 M frames; at 25,000 frames/s that is one hour an epoch."""
    text = render(Throughput(25_000, 1e6, 2_000_000, 4_800, "x86_64", "bfloat16", 2, 10))
    assert "1,000 times real time" in text
    assert "| 1 | 90 M | 18,750 | 293 | 1.0 |" in text
    assert "| 10 | 900 M | 187,500 | 2,930 | 10.0 |" in text
    assert "not a measurement" in text


def test_a_page_is_filled_between_its_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice over: what stands around the markers stays; a page without them is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        main(["--config", str(DEBUG), "--steps", "4", "--threads", "1", "--write", str(page)])
    printed = capsys.readouterr().out
    assert "Measured:" in printed
    lines = page.read_text().splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("before", BEGIN, END, "after")
    assert "old" not in lines
    page.write_text(f"{END}\n{BEGIN}")
    with pytest.raises(ValueError, match="needs the lines"):
        write_between(page, "text")


def test_the_project_page_has_the_place() -> None:
    """`docs/stages/scale.md` can be filled."""
    text = PAGE.read_text(encoding="utf-8")
    assert 0 < text.index(BEGIN) < text.index(END)
