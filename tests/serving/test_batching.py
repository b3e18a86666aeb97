"""Requests that wait at the same time share a run; too many are refused."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import write_everything

from tfembed.serving.batching import Batcher
from tfembed.serving.batching_options import BatchingOptions, read_options
from tfembed.serving.inference import Inference
from tfembed.serving.protos import BatchingParameters, read_text_proto
from tfembed.serving.servable import LoadOptions, Servable
from tfembed.serving.status import Code, ServingError

FOREVER = 60_000_000  # microseconds: such a batch is run only when it is full


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    folder = write_everything(tmp_path_factory.mktemp("served") / "1")
    servable = Servable("m", 1, folder, LoadOptions())
    yield servable
    servable.unload()


def sums(servable: Servable, batcher: Batcher, rows: Any, deadline: float | None = None) -> list[float]:
    arrays = {"x": np.array(rows, np.float32)}
    return Inference(servable, batcher.run, deadline).predict(arrays, "row_sums")["sum"].tolist()


def test_requests_share_a_batch(servable: Servable) -> None:
    """As many rows as make a batch are run together; everyone gets their own rows back."""
    batches: list[int] = []
    options = BatchingOptions(max_batch_size=4, batch_timeout_micros=FOREVER, num_batch_threads=1)
    batcher = Batcher(options, lambda size, waits: batches.append(size))
    with ThreadPoolExecutor(3) as threads:
        requests = [[[1, 2]], [[3, 4], [5, 6]], [[7, 8]]]
        found = list(threads.map(lambda rows: sums(servable, batcher, rows), requests))
    assert found == [[3.0], [7.0, 11.0], [15.0]]
    assert batches == [4]
    batcher.close()


def test_without_a_timeout_nobody_waits(servable: Servable) -> None:
    """A timeout of 0 runs what there is."""
    batcher = Batcher(BatchingOptions())
    assert sums(servable, batcher, [[1, 2]]) == [3.0]
    batcher.close()


def test_different_shapes_are_not_mixed(servable: Servable) -> None:
    """Rows of different lengths go into batches of their own, or are padded to share one."""
    for pad, expected in ((False, [2, 2]), (True, [4])):
        batches: list[int] = []
        options = BatchingOptions(
            max_batch_size=4 if pad else 2,
            batch_timeout_micros=FOREVER,
            num_batch_threads=1,
            pad_variable_length_inputs=pad,
        )
        batcher = Batcher(options, lambda size, waits, batches=batches: batches.append(size))  # type: ignore[misc]
        with ThreadPoolExecutor(4) as threads:
            requests = [[[1, 2]], [[1, 2]], [[1, 2, 3]], [[1, 2, 3]]]
            found = list(threads.map(lambda rows, batcher=batcher: sums(servable, batcher, rows), requests))
        assert found == [[3.0], [3.0], [6.0], [6.0]]
        assert batches == expected
        batcher.close()


def test_allowed_sizes(servable: Servable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are padded to an allowed size; the padding comes back to nobody."""
    ran: list[int] = []
    run = Servable.run

    def counting(self: Servable, feeds: Any, *rest: Any) -> Any:
        ran.extend(len(value) for value in feeds.values())
        return run(self, feeds, *rest)

    monkeypatch.setattr(Servable, "run", counting)
    batcher = Batcher(BatchingOptions(max_batch_size=8, allowed_batch_sizes=(4, 8)))
    assert sums(servable, batcher, [[1, 1], [2, 2], [3, 3]]) == [2.0, 4.0, 6.0]
    assert ran == [4]
    batcher.close()


def test_a_request_without_rows(servable: Servable) -> None:
    """It is not padded, and gets no rows back."""
    batcher = Batcher(BatchingOptions(max_batch_size=8, allowed_batch_sizes=(4, 8)))
    arrays = {"x": np.zeros((0, 2), np.float32)}
    assert Inference(servable, batcher.run).predict(arrays, "row_sums")["sum"].shape == (0,)
    batcher.close()


def test_large_requests_are_split(servable: Servable) -> None:
    """Where splitting is on, a request may have more rows than are run together; it gets all of them back."""
    batches: list[int] = []
    options = BatchingOptions(max_batch_size=7, max_execution_batch_size=3, num_batch_threads=1)
    batcher = Batcher(options, lambda size, waits: batches.append(size))
    assert sums(servable, batcher, [[i, i] for i in range(7)]) == [2.0 * i for i in range(7)]
    assert batches == [3, 3, 1]
    with pytest.raises(ServingError, match="Task size 8 is larger than maximum input batch size 7"):
        sums(servable, batcher, [[1, 1]] * 8)
    batcher.close()


def test_a_large_request_that_finds_no_room(servable: Servable) -> None:
    """When only some of its parts may wait, it is refused, and none of them is run."""
    batches: list[int] = []
    options = BatchingOptions(
        max_batch_size=8,
        max_execution_batch_size=2,
        batch_timeout_micros=FOREVER,
        max_enqueued_batches=1,
        num_batch_threads=1,
    )
    batcher = Batcher(options, lambda size, waits: batches.append(size))
    batcher._ready_at = lambda queue: time.monotonic() + 60  # type: ignore[method-assign]
    with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
        sums(servable, batcher, [[1, 1]] * 4)
    batcher.close()
    assert batches == []


def test_a_full_queue_refuses(servable: Servable) -> None:
    """When as many batches wait as may, the next request is refused at once; those that wait are answered."""
    options = BatchingOptions(max_batch_size=1, batch_timeout_micros=0, max_enqueued_batches=2, num_batch_threads=1)
    entered, proceed = threading.Event(), threading.Event()

    def hold(size: int, waits: list[float]) -> None:
        entered.set()
        proceed.wait(30)

    batcher = Batcher(options, hold)
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(sums, servable, batcher, [[1, 1]])]
        assert entered.wait(30)
        waiting = threading.Semaphore(0)
        enqueue = batcher._enqueue

        def announced(key: Any, task: Any) -> None:
            enqueue(key, task)
            waiting.release()

        batcher._enqueue = announced  # type: ignore[method-assign]
        running += [threads.submit(sums, servable, batcher, [[2, 2]]) for _ in range(2)]
        for _ in range(2):
            assert waiting.acquire(timeout=30)
        try:
            with pytest.raises(ServingError, match="this task was submitted is full") as caught:
                sums(servable, batcher, [[3, 3]], time.monotonic() + 5)
        finally:
            proceed.set()
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        assert caught.value.code.http == 429
        assert [each.result(30) for each in running] == [[2.0], [4.0], [4.0]]
    batcher.close()


def test_an_error_is_only_for_who_caused_it(servable: Servable) -> None:
    """One bad input in a batch does not fail its neighbours."""
    options = BatchingOptions(max_batch_size=3, batch_timeout_micros=FOREVER, num_batch_threads=1)
    batcher = Batcher(options)

    def root(value: float) -> Any:
        try:
            return Inference(servable, batcher.run).predict({"x": np.float32([value])}, "checked")["root"].tolist()
        except ServingError as error:
            return error.code.name

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(root, [4.0, -1.0, 9.0])) == [[2.0], "INVALID_ARGUMENT", [3.0]]
    batcher.close()


def test_a_deadline_while_waiting(servable: Servable) -> None:
    """Who waits longer than they can is told so."""
    batcher = Batcher(BatchingOptions(max_batch_size=2, batch_timeout_micros=FOREVER, num_batch_threads=1))
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        batcher.run(servable, {"row_sums_x:0": np.ones((1, 2), np.float32)}, ["no"], 0.01)
    batcher.close()


def test_closing_answers_what_waits(servable: Servable) -> None:
    """Nobody is left without an answer when the server stops; who comes later is refused."""
    batcher = Batcher(BatchingOptions(max_batch_size=8, batch_timeout_micros=FOREVER, num_batch_threads=1))
    queued = threading.Event()
    enqueue = batcher._enqueue

    def announced(key: Any, task: Any) -> None:
        enqueue(key, task)
        queued.set()

    batcher._enqueue = announced  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(sums, servable, batcher, [[1, 1]])
        assert queued.wait(30)
        batcher.close()
        assert waiting.result(30) == [2.0]
    with pytest.raises(ServingError, match="UNAVAILABLE"):
        sums(servable, batcher, [[1, 1]])


def test_what_cannot_be_batched(servable: Servable) -> None:
    """Scalars are run alone; inputs of different lengths, or larger than a batch, are refused."""
    batcher = Batcher(BatchingOptions(max_batch_size=2))
    arrays = {"a": np.float32(1), "b": np.float32(2)}
    assert Inference(servable, batcher.run).predict(arrays, "scalars")["sum"].tolist() == 3.0
    with pytest.raises(ServingError, match="Task size 3 is larger than maximum input batch size 2"):
        sums(servable, batcher, [[1, 1]] * 3)
    with pytest.raises(ServingError, match="must have at least one dimension"):
        batcher.run(servable, {"row_sums_x:0": np.float32(1)}, [], None)
    with pytest.raises(ServingError, match="must have equal 0th-dimension size"):
        batcher.run(servable, {"a": np.ones(1), "b": np.ones(2)}, [], None)
    batcher.close()


def test_parameters_file(tmp_path: Path) -> None:
    """TensorFlow Serving's file, with its names and checks."""
    file = tmp_path / "batching.txt"
    file.write_text(
        "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } max_enqueued_batches { value: 1000000 }\n"
        "num_batch_threads { value: 8 } allowed_batch_sizes: 64 allowed_batch_sizes: 128\n"
        'pad_variable_length_inputs: true thread_pool_name { value: "batches" }'
    )
    options = read_options(read_text_proto(file, BatchingParameters()))
    assert (options.max_batch_size, options.max_enqueued_batches, options.num_batch_threads) == (128, 1000000, 8)
    assert options.allowed_batch_sizes == (64, 128)
    assert options.pad_variable_length_inputs
    assert read_options(BatchingParameters()).max_batch_size == 1000
    file.write_text(
        "max_batch_size { value: 64 } enable_large_batch_splitting { value: true } allowed_batch_sizes: 16\n"
        "max_execution_batch_size { value: 16 }"
    )
    options = read_options(read_text_proto(file, BatchingParameters()))
    assert (options.max_batch_size, options.largest) == (64, 16)
    file.write_text("max_batch_size: many")
    with pytest.raises(ValueError, match=f"Invalid protobuf file: '{file}'"):
        read_text_proto(file, BatchingParameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be positive"),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive"),
        ({"batch_timeout_micros": -1}, "must be non-negative"),
        ({"allowed_batch_sizes": (8, 4), "max_batch_size": 4}, "must be monotonically increasing"),
        ({"max_execution_batch_size": 9, "max_batch_size": 8}, "at most max_batch_size, 8; was 9"),
        ({"allowed_batch_sizes": (4, 8), "max_batch_size": 16}, "final entry in allowed_batch_sizes must equal"),
    ],
)
def test_wrong_options(values: dict[str, Any], message: str) -> None:
    """Values out of range are named."""
    with pytest.raises(ValueError, match=message):
        BatchingOptions(**values)
