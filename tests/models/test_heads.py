"""The head sees an embedding against its line, and against its leg only where there is one."""

from __future__ import annotations

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


def test_the_speech_gate_knows_neither_line_nor_leg(head: LineRelativeHead) -> None:
    """Whether it is speech is judged against the population."""
    given, elsewhere = state(), state(leg_n=4.0, seed=5)
    elsewhere["embedding"] = given["embedding"]
    assert torch.equal(head(*given.values())[3], head(*elsewhere.values())[3])


def test_dimensions_are_bounded(head: LineRelativeHead) -> None:
    """Arousal and valence stay within [-1, 1] for absurd embeddings."""
    given = state() | {"embedding": torch.full((5, 6), 1e6)}
    output = head.outputs(*given.values())
    assert bool((output.arousal.abs() <= 1).all())
    assert bool((output.valence.abs() <= 1).all())
    assert bool(torch.isfinite(output.logits).all())
