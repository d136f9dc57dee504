"""The head sees an embedding against its line, and against its leg only where there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.config import HeadConfig
from models.heads import LineRelativeHead


@pytest.fixture
def head() -> LineRelativeHead:
    """An untrained head of 6 dimensions and 4 categories."""
    torch.manual_seed(0)
    return LineRelativeHead(HeadConfig(hidden=10), 6, 4).eval()


def state(rows: int = 5, leg_n: float = 0.0, seed: int = 0) -> dict[str, Tensor]:
    """Random embeddings, lines and legs."""
    mean, std, leg = torch.randn(3, rows, 6, generator=torch.Generator().manual_seed(seed))
    return {
        "embedding": torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed + 1)),
        "line_mean": mean,
        "line_std": std.abs() + 0.5,
        "line_n": torch.full((rows,), 30.0),
        "leg_mean": leg,
        "leg_n": torch.full((rows,), leg_n),
    }


def test_without_a_leg_the_leg_says_nothing(head: LineRelativeHead) -> None:
    """With leg_n = 0 every output is bit for bit the same, whatever stands in leg_mean."""
    given = state()
    blank = given | {"leg_mean": torch.zeros(5, 6)}
    for one, other in zip(head(*given.values()), head(*blank.values()), strict=True):
        assert torch.equal(one, other)


def test_a_gain_of_zero_switches_the_leg_off(head: LineRelativeHead) -> None:
    """What calibration sets where the leg does harm: then the head is exactly its cold self."""
    cold = head(*state().values())
    with_leg = head(*state(leg_n=9.0).values())
    assert not torch.allclose(cold[0], with_leg[0])
    head.leg_gain.fill_(0.0)
    assert torch.equal(head(*state(leg_n=9.0).values())[0], cold[0])


def test_the_leg_is_faded_in(head: LineRelativeHead) -> None:
    """After leg_prior utterances the leg has half of the weight that it has in the end."""
    cold, half, full = (head(*state(leg_n=n).values())[0] for n in (0.0, head.config.leg_prior, 1e9))
    torch.testing.assert_close(half - cold, (full - cold) / 2, rtol=1e-3, atol=1e-5)


def test_lines_are_taken_out(head: LineRelativeHead) -> None:
    """An embedding and its line moved and stretched together give the same categories, arousal and valence."""
    given = state()
    moved = given | {
        "embedding": 3 * given["embedding"] + 7,
        "line_mean": 3 * given["line_mean"] + 7,
        "line_std": 3 * given["line_std"],
    }
    for one, other in zip(head(*given.values())[:3], head(*moved.values())[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_sounds_know_neither_line_nor_leg(head: LineRelativeHead) -> None:
    """What kind of sound it is, and whether it is speech, is judged against the population."""
    given, elsewhere = state(), state(leg_n=4.0, seed=5)
    elsewhere["embedding"] = given["embedding"]
    for one, other in zip(head(*given.values())[3:], head(*elsewhere.values())[3:], strict=True):
        assert torch.equal(one, other)


def test_speech_is_what_is_kept_against_the_likeliest_rejected(head: LineRelativeHead) -> None:
    """Log-odds of speech and events together; hand-computed from the sound logits."""
    output = head.outputs(*state().values())
    assert output.sound.shape == (5, len(head.config.sounds))
    kept, rejected = output.sound[:, :6], output.sound[:, 6:]
    torch.testing.assert_close(output.speech, kept.exp().sum(dim=1).log() - rejected.max(dim=1).values)


def test_a_shift_moves_only_its_own_kind(head: LineRelativeHead) -> None:
    """A rejected kind that is shifted needs that much more; speech, events and other kinds stay."""
    before = head.outputs(*state().values())
    head.sound_shift[1] = 2.0
    after = head.outputs(*state().values())
    moved = before.sound - after.sound
    expected = torch.zeros_like(moved)
    expected[:, head.config.sounds.index(head.config.rejected[1])] = 2.0
    torch.testing.assert_close(moved, expected)
    assert bool((after.speech >= before.speech).all())


@pytest.mark.parametrize("change", [{"events": ("music",)}, {"rejected": ()}, {"events": ("speech",)}])
def test_sounds_must_be_distinct_and_some_rejected(change: dict[str, Any]) -> None:
    """A name twice, or nothing to reject, is no gate."""
    with pytest.raises(ValueError, match="distinct sounds"):
        replace(HeadConfig(), **change)


def test_dimensions_are_bounded(head: LineRelativeHead) -> None:
    """Arousal and valence stay within [-1, 1] for absurd embeddings."""
    given = state() | {"embedding": torch.full((5, 6), 1e6)}
    output = head.outputs(*given.values())
    assert bool((output.arousal.abs() <= 1).all())
    assert bool((output.valence.abs() <= 1).all())
    assert bool(torch.isfinite(output.logits).all())
