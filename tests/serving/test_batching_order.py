"""In which order requests are batched, run and answered: with a model, a clock and a lock of the test's own."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfembed.serving import batching
from tfembed.serving.batching import Batcher
from tfembed.serving.batching_options import BatchingOptions
from tfembed.serving.status import Code, ServingError

FOREVER = 60_000_000  # microseconds: such a batch is run only when it is full


class Echo:
    """A model that answers ten times its input, and notes what it was run with; it fails at negative numbers."""

    def __init__(self, takes: bool = True) -> None:
        self.takes, self.ran = takes, []

    def takes_batches(self, fed: tuple[str, ...]) -> bool:
        return self.takes

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str], timeout: float | None) -> list[np.ndarray]:
        self.ran.append((feeds["x"].tolist(), list(fetches), timeout))
        if (feeds["x"] < 0).any():
            raise ServingError(Code.INVALID_ARGUMENT, f"{feeds['x'].min()} is negative")
        return [feeds["x"] * 10]


class Desk:
    """Hands requests in one after the other, while the first batch is held until all of them wait."""

    def __init__(self, threads: ThreadPoolExecutor, **options: Any) -> None:
        self.model, self.sizes, self.waits = Echo(), [], []
        self._threads, self._held, self._go = threads, threading.Event(), threading.Event()
        self.batcher = Batcher(BatchingOptions(**{"num_batch_threads": 1} | options), self._on_batch)
        self._waiting = threading.Semaphore(0)
        enqueue = self.batcher._enqueue

        def announced(key: Any, task: Any) -> None:
            enqueue(key, task)
            self._waiting.release()

        self.batcher._enqueue = announced  # type: ignore[method-assign]

    def _on_batch(self, size: int, waits: list[float]) -> None:
        self.sizes.append(size)
        self.waits.append(waits)
        self._held.set()
        self._go.wait(30)

    def hold(self) -> Future[Any]:
        """Have a batch run that holds up all later ones."""
        first = self.send([0])
        assert self._held.wait(30)
        return first

    def send(self, values: list[int], fetches: str = "y", timeout: float | None = None) -> Future[Any]:
        """A request in a thread of its own, which waits when this returns."""
        feeds = {"x": np.array(values)}
        sent = self._threads.submit(self.batcher.run, self.model, feeds, [fetches], timeout)  # type: ignore[arg-type]
        assert self._waiting.acquire(timeout=30)
        return sent

    def release(self) -> None:
        self._go.set()


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []
    with ThreadPoolExecutor(8) as threads:

        def made(**options: Any) -> Desk:
            desks.append(Desk(threads, **options))
            return desks[-1]

        yield made
        for each in desks:
            each.release()
            each.batcher.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands at 100 seconds until it is moved."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_no_queue_starves(desk: Callable[..., Desk]) -> None:
    """A request that does not fit with the others has its turn before all of theirs are run."""
    one = desk(max_batch_size=1)
    first = one.hold()
    many = [one.send([i]) for i in (1, 2, 3)]
    other = one.send([9], "z")
    one.release()
    assert [each.result(30)[0].tolist() for each in [first, *many, other]] == [[0], [10], [20], [30], [90]]
    assert [(rows, fetches) for rows, fetches, _ in one.model.ran] == [
        ([0], ["y"]),
        ([1], ["y"]),
        ([9], ["z"]),
        ([2], ["y"]),
        ([3], ["y"]),
    ]


def test_batches_are_filled_in_order(desk: Callable[..., Desk]) -> None:
    """Rows go into the batch that waits last until it is full, never beyond; everyone gets their own rows back."""
    one = desk(max_batch_size=4, batch_timeout_micros=0)
    first = one.hold()
    sent = [one.send(values) for values in ([1, 2], [3], [4, 5], [6, 7], [8])]
    one.release()
    assert [each.result(30)[0].tolist() for each in sent] == [[10, 20], [30], [40, 50], [60, 70], [80]]
    assert first.result(30)[0].tolist() == [0]
    assert [rows for rows, _, _ in one.model.ran] == [[0], [1, 2, 3], [4, 5, 6, 7], [8]]
    assert one.sizes == [1, 3, 4, 1]


def test_what_is_late_is_not_run(desk: Callable[..., Desk], clock: SimpleNamespace) -> None:
    """A request whose deadline passed while it waited is told so, and only the others are run, with the time left."""
    one = desk(max_batch_size=8)
    first = one.hold()
    late, on_time, later = one.send([1], timeout=30.0), one.send([2], timeout=50.0), one.send([3], timeout=45.0)
    exact = one.send([4], timeout=40.0)
    clock.now += 40.0
    one.release()
    assert first.result(30)[0].tolist() == [0]
    assert [on_time.result(30)[0].tolist(), later.result(30)[0].tolist()] == [[20], [30]]
    for each in (late, exact):
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED: Timed out while waiting for a batch"):
            each.result(30)
    assert one.model.ran == [([0], ["y"], None), ([2, 3], ["y"], 10.0)]
    assert one.waits == [[0.0], [40.0, 40.0]]
    assert one.sizes == [1, 2]


def test_one_without_a_deadline_gives_the_batch_none(desk: Callable[..., Desk], clock: SimpleNamespace) -> None:
    """A batch may take as long as the one of its requests that may take longest."""
    one = desk(max_batch_size=8)
    one.hold()
    sent = [one.send([1], timeout=30.0), one.send([2])]
    one.release()
    assert [each.result(30)[0].tolist() for each in sent] == [[10], [20]]
    assert one.model.ran[1] == ([1, 2], ["y"], None)


def test_when_all_are_late_nothing_is_run(desk: Callable[..., Desk], clock: SimpleNamespace) -> None:
    """Nobody waits for the answer any more."""
    one = desk(max_batch_size=8)
    one.hold()
    late = one.send([1], timeout=30.0)
    clock.now += 31.0
    one.release()
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        late.result(30)
    one.batcher.close()
    assert [rows for rows, _, _ in one.model.ran] == [[0]]
    assert one.sizes == [1]


def test_who_gives_up_is_not_run(desk: Callable[..., Desk]) -> None:
    """A request that timed out before its batch was taken is left out of it."""
    one = desk(max_batch_size=8)
    one.hold()
    impatient, patient = one.send([1], timeout=0.0), one.send([2])
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        impatient.result(30)
    one.release()
    assert patient.result(30)[0].tolist() == [20]
    assert [rows for rows, _, _ in one.model.ran] == [[0], [2]]


def test_a_failing_batch_is_run_one_by_one(desk: Callable[..., Desk]) -> None:
    """Everyone gets an answer of their own, in their place; who caused it, alone, gets its own error."""
    one = desk(max_batch_size=8)
    one.hold()
    sent = [one.send(values) for values in ([1, 2], [-3], [4], [-5, 6])]
    one.release()
    found = [each.exception(30) or each.result(30)[0].tolist() for each in sent]
    assert [found[0], found[2]] == [[10, 20], [40]]
    assert [str(found[1]), str(found[3])] == ["INVALID_ARGUMENT: -3 is negative", "INVALID_ARGUMENT: -5 is negative"]
    assert [rows for rows, _, _ in one.model.ran[1:]] == [[1, 2, -3, 4, -5, 6], [1, 2], [-3], [4], [-5, 6]]
    alone = one.send([-7])
    with pytest.raises(ServingError, match="-7 is negative"):
        alone.result(30)
    assert len(one.model.ran) == 7  # a request that failed alone is not run again


def test_parts_of_a_large_request_come_back_in_order() -> None:
    """Where parts run at the same time and the later one ends first, the rows are in their places all the same."""
    second_is_done = threading.Event()

    class Slow(Echo):
        def run(self, feeds: dict[str, np.ndarray], fetches: list[str], timeout: float | None) -> list[np.ndarray]:
            if feeds["x"][0] == 1:
                assert second_is_done.wait(30)
            found = super().run(feeds, fetches, timeout)
            if feeds["x"][0] != 1:
                second_is_done.set()
            return found

    batcher = Batcher(BatchingOptions(max_batch_size=4, max_execution_batch_size=2, num_batch_threads=2))
    model = Slow()
    assert batcher.run(model, {"x": np.array([1, 2, 3, 4])}, ["y"], 30.0)[0].tolist() == [10, 20, 30, 40]  # type: ignore[arg-type]
    assert [rows for rows, _, _ in model.ran] == [[3, 4], [1, 2]]
    batcher.close()


def test_what_takes_no_batches_is_run_at_once() -> None:
    """Its time is passed on as it is."""
    batcher, model = Batcher(BatchingOptions(num_batch_threads=1)), Echo(takes=False)
    batcher.close()
    assert batcher.run(model, {"x": np.array(3)}, ["y"], 2.5)[0] == 30  # type: ignore[arg-type]
    assert model.ran == [(3, ["y"], 2.5)]


@pytest.mark.parametrize(("rows", "ran"), [(0, 0), (1, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_batches_are_padded_to_the_next_allowed_size(rows: int, ran: int) -> None:
    """The smallest size that is large enough; a batch of such a size stays as it is, and so do no rows."""
    batcher = Batcher(BatchingOptions(max_batch_size=8, allowed_batch_sizes=(2, 4, 8), num_batch_threads=1))
    model = Echo()
    found = batcher.run(model, {"x": np.arange(rows)}, ["y"], None)[0]  # type: ignore[arg-type]
    assert found.tolist() == [10 * i for i in range(rows)]
    assert [len(values) for values, _, _ in model.ran] == [ran]
    batcher.close()


def test_only_what_is_alike_shares_a_batch(desk: Callable[..., Desk]) -> None:
    """Types and shapes of a row must be equal; with padding, the number of dimensions."""
    for pad, expected in ((False, [2, 1, 1]), (True, [2, 2])):
        one = desk(max_batch_size=8, pad_variable_length_inputs=pad)
        one.hold()
        rows = [np.ones((1, 2), int), np.ones((1, 2), float), np.ones((1, 2), int), np.ones((1, 3), float)]
        sent = [one.send(each) for each in rows]  # type: ignore[arg-type]
        one.release()
        padding = [0.0] if pad else []
        expected_rows = [[[10, 10]], [[10.0, 10.0, *padding]], [[10, 10]], [[10.0, 10.0, 10.0]]]
        assert [each.result(30)[0].tolist() for each in sent] == expected_rows
        assert [len(values) for values, _, _ in one.model.ran[1:]] == expected


@pytest.mark.parametrize(
    ("sizes", "behind", "ready"), [([3], 0, 102.5), ([1, 2], 0, 102.5), ([4], 0, 0.0), ([1, 3], 0, 0.0), ([3], 1, 0.0)]
)
def test_when_a_batch_is_ready(sizes: list[int], behind: int, ready: float) -> None:
    """When it is full, or another waits behind it: at once. Else when its oldest request has waited long enough."""
    batcher = Batcher(BatchingOptions(max_batch_size=4, batch_timeout_micros=2_500_000, num_batch_threads=1))
    tasks = [
        batching._Task(feeds={}, size=size, deadline=None, since=100.0 + i, done=Future())
        for i, size in enumerate(sizes)
    ]
    assert batcher._ready_at(deque([tasks] + [tasks] * behind)) == ready
    batcher.close()


def test_as_many_batches_wait_as_may(desk: Callable[..., Desk]) -> None:
    """The queue takes exactly as many batches as it is told, beside the one that runs; then it refuses."""
    one = desk(max_batch_size=1, max_enqueued_batches=2)
    one.hold()
    sent = [one.send([1]), one.send([2])]
    with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED: The batch scheduling queue"):
        one.batcher.run(one.model, {"x": np.array([3])}, ["y"], 30.0)  # type: ignore[arg-type]
    one.release()
    assert [each.result(30)[0].tolist() for each in sent] == [[10], [20]]


def test_a_process_ends_without_closing() -> None:
    """The threads of a batcher that nobody closed do not keep the process alive."""
    batcher = Batcher(BatchingOptions(num_batch_threads=3))
    assert len(batcher._threads) == 3
    assert all(thread.daemon and thread.is_alive() for thread in batcher._threads)
    batcher.close()
    assert not any(thread.is_alive() for thread in batcher._threads)


def test_a_batch_that_stays_small_is_run_in_time() -> None:
    """A request that nobody joins is answered when its batch has waited long enough."""
    options = BatchingOptions(max_batch_size=8, batch_timeout_micros=1000, num_batch_threads=1)
    batcher, model = Batcher(options), Echo()
    assert batcher.run(model, {"x": np.array([4])}, ["y"], 30.0)[0].tolist() == [40]  # type: ignore[arg-type]
    batcher.close()
