"""Stage `pretrain` out of shards, in one process or many: the same model, loss and loop as `training.pretrain`.

`torchrun --nproc-per-node 2 -m training.pretrain_shards --config FILE --shards FOLDER --out FOLDER`
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from models.config import TokenizerConfig
from models.mae import MaskedAutoencoder
from training.checkpoint import CheckpointError, load_weights
from training.config import ConfigError, load_config, save_config
from training.data.shard_batches import ShardBatches
from training.data.shard_files import ShardError, Shards
from training.device import DeviceError
from training.distributed import WorldError, current_world, joined
from training.engine import NonFiniteLossError, train
from training.pretrain import PretrainConfig, PretrainTask
from training.run_config import RunConfig
from training.train_tokenizer import LearnedTokenizer

REFUSED, FAILED = 2, 1
"""Exit codes, as those of `python -m training`."""


def pretrain_from_shards(
    config: PretrainConfig,
    tokenizer: TokenizerConfig,
    start: LearnedTokenizer | None,
    shards: Path,
    folder: Path,
) -> None:
    """Run the stage: `model.safetensors` (the whole autoencoder), `config.json`, `log.jsonl` in `folder`.

    Every clip is seen once an epoch: the mixture of corpora is that of the shards, not `corpus_weights`. The audio half
    starts from `start`, or from nothing where that is None.

    Raises:
        ShardError: the shards are unfinished or damaged, or hold other tokens than the configuration's.
    """
    source = Shards(shards)
    fitted = _fitted(config, tokenizer, source)
    if current_world().first:
        save_config(fitted, folder / "config.json")
    torch.manual_seed(fitted.loop.seed)
    model = MaskedAutoencoder(fitted.model, tokenizer)
    if start is not None:
        model.audio.load_state_dict(start.hand_over().state_dict())
    codebook = source.video_codebook
    if codebook is not None:
        model.start_video_from(torch.from_numpy(codebook))
    batches = ShardBatches(source, fitted.batches, fitted.loop.seed, faced_frames=fitted.faces.max_frames)
    train(PretrainTask(fitted, model, batches), fitted.loop, folder, "pretrain")


def _fitted(config: PretrainConfig, tokenizer: TokenizerConfig, source: Shards) -> PretrainConfig:
    """The configuration with as many frame targets as the shards have, once their tokens are the model's."""
    schema, video = source.schema, config.model.video
    if schema.codebooks != tokenizer.codebooks or schema.largest_token >= tokenizer.codebook_size:
        raise ShardError(
            f"{source.folder} holds {schema.codebooks} codebooks with tokens up to {schema.largest_token}, expected "
            f"{tokenizer.codebooks} of {tokenizer.codebook_size} codes"
        )
    found = (schema.video_grid, schema.video_codebook_size)
    if schema.video_grid and found != (video.grid, video.codebook_size):
        raise ShardError(
            f"{source.folder} holds video of {found[0]} tokens a picture of {found[1]} codes, expected {video.grid} "
            f"of {video.codebook_size}"
        )
    encoder = replace(config.model.encoder, teacher_dim=schema.teacher_dim)
    return replace(config, model=replace(config.model, encoder=encoder))


def main(arguments: list[str] | None = None) -> int:
    """Train; exit code 2 where what was asked for can't be done, 1 where training gave up."""
    given = _parser().parse_args(arguments)
    try:
        config = load_config(given.config, RunConfig)
        with joined(config.pretrain.loop.device):
            start = _start(config, given.tokenizer, given.shards)
            pretrain_from_shards(config.pretrain, config.tokenizer.model, start, given.shards, given.out)
    except (ConfigError, ShardError, CheckpointError, DeviceError, WorldError) as error:
        return _fail(str(error), REFUSED)
    except NonFiniteLossError as error:
        return _fail(str(error), FAILED)
    return 0


def _start(config: RunConfig, weights: Path | None, shards: Path) -> LearnedTokenizer | None:
    """The tokenizer whose weights were given or lie beside the shards; None where there are none."""
    source = Shards(shards)
    path = weights or source.tokenizer
    if path is None:
        return None
    start = LearnedTokenizer(config.tokenizer, source.schema.teacher_dim)
    load_weights(start, path)
    return start


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.pretrain_shards", description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML of a run; its `pretrain` is what counts"
    )
    parser.add_argument(
        "--shards", type=Path, required=True, help="folder that `training.shards write` wrote"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the stage, shared by all processes"
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="its weights (default: those beside the shards, if any)"
    )
    return parser


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
