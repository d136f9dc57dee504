"""The batcher: each caller its own result, whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from app.bundle.loader import LoadedBundle
from app.domain import TokenArray
from app.inference.batcher import BUCKET_TOKENS, Batcher
from app.inference.encoder import Encoded, Encoder
from app.inference.errors import InferenceError
from app.ort import Provider
from tests.inference.fakes import (
    ENCODER_SPEC,
    FakeSession,
    Function,
    GatedSession,
    refuse_sevens,
    token_sums,
)


def _tokens(length: int, seed: int = 0) -> TokenArray:
    return np.random.default_rng(seed).integers(0, 7, (4, length))


def _together(
    function: Function, jobs: list[TokenArray], *, max_batch: int
) -> tuple[list[Future[Encoded]], GatedSession, list[int]]:
    """Encodes a first utterance, holds it until all jobs are queued behind it, then lets go."""
    session = GatedSession(function)
    sizes: list[int] = []
    encoder = Encoder(session, ENCODER_SPEC)
    with (
        Batcher(encoder, max_batch=max_batch, max_wait_s=0.0, on_batch=sizes.append) as batcher,
        ThreadPoolExecutor(len(jobs) + 1) as pool,
    ):
        first = pool.submit(batcher.encode, _tokens(8))
        assert session.entered.wait(30)
        futures = [pool.submit(batcher.encode, tokens) for tokens in jobs]
        _wait_until(lambda: batcher._queue.qsize() >= len(jobs))
        session.gate.set()
        first.result(30)
    return futures, session, sizes


def _wait_until(condition: Callable[[], bool]) -> None:
    """Yields to other threads until the condition holds; the test runner's time-out is the bound."""
    with ThreadPoolExecutor(1) as pool:
        while not condition():
            pool.submit(bool).result()


def test_each_caller_gets_its_own_result_under_many_threads() -> None:
    """A thousand utterances from sixteen threads each come back as themselves."""
    utterances = [_tokens(1 + seed % 250, seed) for seed in range(1000)]
    alone = Encoder(FakeSession(token_sums), ENCODER_SPEC)
    with (
        Batcher(Encoder(FakeSession(token_sums), ENCODER_SPEC), max_batch=8) as batcher,
        ThreadPoolExecutor(16) as pool,
    ):
        results = list(pool.map(batcher.encode, utterances))
    for tokens, (embedding, salience) in zip(utterances, results, strict=True):
        expected = alone.encode(tokens)
        assert embedding == pytest.approx(expected[0])
        assert salience == pytest.approx(expected[1])


def test_what_has_gathered_runs_in_one_batch_by_length() -> None:
    """Utterances of one length bucket share a run, padded to the bucket; other lengths have their own."""
    jobs = [_tokens(10, 1), _tokens(70, 2), _tokens(BUCKET_TOKENS, 3)]
    futures, session, sizes = _together(token_sums, jobs, max_batch=8)
    assert sizes == [1, 2, 1]
    assert [feeds["tokens"].shape for feeds in session.feeds] == [(1, 4, 64), (2, 4, 64), (1, 4, 128)]
    for tokens, future in zip(jobs, futures, strict=True):
        assert future.result()[0].tolist() == [tokens.sum(), tokens.shape[1]]
        assert future.result()[1].shape == (tokens.shape[1],)


def test_a_batch_is_never_larger_than_the_maximum() -> None:
    """Five waiting utterances and a maximum of two make three runs."""
    _, _, sizes = _together(token_sums, [_tokens(10, seed) for seed in range(5)], max_batch=2)
    assert sorted(sizes) == [1, 1, 2, 2]


def test_the_windows_of_a_long_utterance_share_batches() -> None:
    """A long utterance is cut, batched and joined again."""
    tokens = _tokens(250, 4)
    with Batcher(Encoder(FakeSession(token_sums), ENCODER_SPEC), max_batch=8) as batcher:
        embedding, salience = batcher.encode(tokens)
    expected = Encoder(FakeSession(token_sums), ENCODER_SPEC).encode(tokens)
    assert embedding == pytest.approx(expected[0])
    assert salience.shape == (250,)


def test_one_bad_utterance_hurts_no_other() -> None:
    """When a batch fails its utterances run again alone: only the bad one gets the error."""
    jobs = [_tokens(10, 1), np.full((4, 10), 7), _tokens(10, 2)]
    futures, _, sizes = _together(refuse_sevens, jobs, max_batch=8)
    assert sizes == [1, 3, 1, 1, 1]
    with pytest.raises(InferenceError, match="a seven"):
        futures[1].result()
    for index in (0, 2):
        assert futures[index].result()[0].tolist() == [jobs[index].sum(), 10]


def test_an_error_of_our_own_does_not_kill_the_thread() -> None:
    """Whatever goes wrong in a run reaches its caller, and the next caller is served."""
    with Batcher(Encoder(FakeSession(lambda _: {}), ENCODER_SPEC), max_batch=2) as batcher:
        for _ in range(2):
            with pytest.raises(KeyError):
                batcher.encode(_tokens(8))


def test_of_one_it_runs_in_the_callers_thread() -> None:
    """With max_batch 1 there is no thread, and every run is one utterance at its own length."""
    session = FakeSession(token_sums)
    sizes: list[int] = []
    with Batcher(Encoder(session, ENCODER_SPEC), on_batch=sizes.append) as batcher:
        assert batcher.encode(_tokens(10))[1].shape == (10,)
        assert batcher._thread is None
    assert sizes == [1]
    assert session.feeds[0]["tokens"].shape == (1, 4, 10)


def test_no_company_is_waited_for_in_vain() -> None:
    """A lone utterance is run once the wait is over, by the clock that was given."""
    ticks = iter([0.0, 5.0])
    encoder = Encoder(FakeSession(token_sums), ENCODER_SPEC)
    with Batcher(encoder, max_batch=8, max_wait_s=1.0, clock=lambda: next(ticks)) as batcher:
        assert batcher.encode(_tokens(10))[0][1] == 10


@pytest.mark.parametrize(("provider", "threaded"), [(Provider.CPU, False), (Provider.CUDA, True)])
def test_only_cuda_batches(provider: Provider, threaded: bool) -> None:
    """On the CPU the batch is one, whatever is configured."""
    encoder = Encoder(FakeSession(token_sums), ENCODER_SPEC)
    with Batcher.for_provider(encoder, provider, max_batch=16) as batcher:
        assert (batcher._thread is not None) == threaded


def test_closed_means_closed() -> None:
    """After closing, which may be done twice, there is an error rather than a wait for ever."""
    batcher = Batcher(Encoder(FakeSession(token_sums), ENCODER_SPEC), max_batch=2)
    batcher.close()
    batcher.close()
    with pytest.raises(InferenceError, match="closed"):
        batcher.encode(_tokens(8))


def test_closing_finishes_what_was_handed_in() -> None:
    """An utterance in the queue when the batcher closes still gets its result."""
    session = GatedSession(token_sums)
    batcher = Batcher(Encoder(session, ENCODER_SPEC), max_batch=4, max_wait_s=0.0)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher.encode, _tokens(8))
        assert session.entered.wait(30)
        second = pool.submit(batcher.encode, _tokens(9))
        _wait_until(lambda: batcher._queue.qsize() == 1)
        closing = pool.submit(batcher.close)
        _wait_until(lambda: batcher._queue.qsize() == 2)
        session.gate.set()
        closing.result(30)
        assert (first.result(30)[0][1], second.result(30)[0][1]) == (8, 9)


def test_a_batch_of_none_is_refused() -> None:
    """The maximum must be at least one."""
    with pytest.raises(ValueError, match="max_batch >= 1, got 0"):
        Batcher(Encoder(FakeSession(token_sums), ENCODER_SPEC), max_batch=0)


def test_why_the_cpu_runs_one_at_a_time(bundle: LoadedBundle) -> None:
    """Under dynamic int8 a neighbour in the batch changes a result; alone it is always the same.

    This is the measurement behind `docs/decisions/0003-batch-of-one-on-cpu.md`.
    """
    encoder = Encoder(bundle.encoder, bundle.manifest.encoder)
    mine, neighbour = _tokens(30, 1), np.full((4, 30), 9)
    alone = encoder.run([mine], 30)[0][0]
    in_company = encoder.run([mine, neighbour], 30)[0][0]
    assert np.array_equal(encoder.encode(mine)[0], alone)
    assert not np.array_equal(in_company, alone)
