"""What pretraining costs here and what 1,000 hours would: `python -m bench.training_throughput [--write PAGE]`.

Times steps of the pretraining stage (the real model, loss and loop of a configuration, on made tokens of one length)
and scales. With `--write` the tables go into a page between its two markers. Give it cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from models.config import TokenizerConfig
from models.mae import MaskedAutoencoder
from training.config import load_config
from training.device import autocast_type, pick_device
from training.engine import train
from training.pretrain import PretrainConfig, PretrainTask
from training.run_config import RunConfig

CONFIG = Path(__file__).parent.parent / "training" / "configs" / "run" / "default.yaml"
BEGIN, END = "<!-- throughput:begin -->", "<!-- throughput:end -->"
FRAMES_PER_HOUR = 25 * 3600
EPOCHS = (1, 4, 10)
GLOBAL_MICRO_BATCHES = 64
CARD_FLOPS, CARD_SHARE = 312e12, 0.1
"""An A100's bfloat16 peak by its data sheet, and the share of it that is assumed for a model as small as this."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was measured. flops: multiply-adds counted twice, forward and backward, per frame."""

    frames_per_second: float
    flops_per_frame: float
    parameters: int
    batch_frames: int
    device: str
    precision: str
    threads: int
    steps: int

    @property
    def flops(self) -> float:
        """Per second."""
        return self.frames_per_second * self.flops_per_frame


class MadeBatches(Dataset[dict[str, Tensor]]):
    """Random tokens of one length; notes when each batch is asked for."""

    def __init__(self, config: PretrainConfig, tokenizer: TokenizerConfig) -> None:
        self.asked: list[float] = []
        self._frames = config.batches.max_frames
        self._rows = max(2, config.batches.budget_frames // self._frames)
        self._tokenizer, self._dim = tokenizer, config.model.encoder.teacher_dim
        self.batch_frames = self._rows * self._frames

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(step)
        size, books = self._tokenizer.codebook_size, self._tokenizer.codebooks
        batch = {
            "tokens": torch.randint(size, (self._rows, books, self._frames), generator=generator),
            "length": torch.full((self._rows,), self._frames),
            "target": torch.randn(self._rows, self._frames, self._dim, generator=generator),
            "heard": torch.ones(self._rows, dtype=torch.bool),
        }
        self.asked.append(time.perf_counter())
        return batch


class Counted(PretrainTask):
    """Counts what the first loss and its gradients cost."""

    flops = 0

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The stage's loss."""
        if not self.flops:
            with FlopCounterMode(display=False) as counter:
                super().loss(batch)[0].backward()  # type: ignore[no-untyped-call]
            self.flops = counter.get_total_flops()
        return super().loss(batch)


def measure(config: PretrainConfig, tokenizer: TokenizerConfig, steps: int) -> Throughput:
    """Time the steps of a run in this process; the median of all but the first two counts."""
    loop = replace(
        config.loop, steps=steps, save_every=steps, log_every=steps, workers=0, accumulate=1, warmup=1
    )
    torch.manual_seed(loop.seed)
    model, batches = MaskedAutoencoder(config.model, tokenizer), MadeBatches(config, tokenizer)
    task = Counted(config, model, batches)
    with tempfile.TemporaryDirectory() as folder:
        train(task, loop, Path(folder), "measure")
    took = [later - asked for asked, later in zip(batches.asked, batches.asked[1:], strict=False)]
    device = pick_device(loop.device)
    kind = autocast_type(loop.precision, device)
    return Throughput(
        batches.batch_frames / statistics.median(took[2:]),
        task.flops / batches.batch_frames,
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        batches.batch_frames,
        platform.machine() if device.type == "cpu" else torch.cuda.get_device_name(device),
        "float32" if kind is None else str(kind).removeprefix("torch."),
        loop.threads,
        len(took) - 2,
    )


def render(found: Throughput, hours: float = 1000.0) -> str:
    """Markdown: what was measured, and what so many hours would take."""
    per_step = found.batch_frames * GLOBAL_MICRO_BATCHES
    card = CARD_FLOPS * CARD_SHARE / found.flops_per_frame
    lines = [
        f"Measured: {found.frames_per_second:,.0f} frames/s, {found.frames_per_second / 25:,.0f} times real time, on "
        f"{found.device}, {found.threads} threads, {found.precision}: the median of {found.steps} steps of "
        f"{found.batch_frames:,} frames. {found.parameters / 1e6:.1f} M trained parameters, "
        f"{found.flops_per_frame / 1e6:.0f} MFLOP a frame forward and backward, so {found.flops / 1e9:.0f} GFLOP/s.",
        "",
        f"| epochs over {hours:,.0f} h | frames | steps of 1 micro-batch | steps of {GLOBAL_MICRO_BATCHES} "
        "| hours on this CPU | hours on one card (assumed) |",
        "|---|---|---|---|---|---|",
    ]
    for epochs in EPOCHS:
        frames = epochs * hours * FRAMES_PER_HOUR
        cells = (
            epochs, f"{frames / 1e6:,.0f} M", f"{frames / found.batch_frames:,.0f}", f"{frames / per_step:,.0f}",
            f"{frames / found.frames_per_second / 3600:,.1f}", f"{frames / card / 3600:,.2f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += [
        "",
        f"The card's column is arithmetic, not a measurement: {CARD_SHARE:.0%} of {CARD_FLOPS / 1e12:.0f} TFLOP/s, "
        f"that is {card:,.0f} frames/s.",
    ]
    return "\n".join(lines)


def write_between(page: Path, text: str) -> None:
    """Replace what stands between the page's markers.

    Raises:
        ValueError: the page has not both markers, in order.
    """
    old = page.read_text(encoding="utf-8")
    start, end = old.find(BEGIN), old.find(END)
    if start < 0 or end < start:
        raise ValueError(f"{page} needs the lines {BEGIN} and {END}, in this order")
    page.write_text(old[: start + len(BEGIN)] + "\n" + text + "\n" + old[end:], encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.training_throughput", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG, help="YAML of a run (default: default.yaml)")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, help="torch's (default: the configuration's)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page whose marked place is filled")
    given = parser.parse_args(arguments)
    config = load_config(given.config, RunConfig)
    stage: Any = config.pretrain
    if given.threads:
        stage = replace(stage, loop=replace(stage.loop, threads=given.threads))
    text = render(measure(stage, config.tokenizer.model, given.steps))
    print(text)
    if given.write:
        write_between(given.write, text)


if __name__ == "__main__":
    main()
