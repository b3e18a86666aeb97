"""Dynamic batching: requests that wait at the same time are run together."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfembed.serving.batching_options import BatchingOptions
from tfembed.serving.padding import join, pad_rows, split, split_rows
from tfembed.serving.servable import Servable
from tfembed.serving.status import Code, ServingError, failure, invalid


@dataclass(slots=True, kw_only=True, eq=False)
class _Task:
    feeds: dict[str, np.ndarray]
    size: int
    deadline: float | None
    since: float
    done: "Future[list[np.ndarray]]"


class Batcher:
    """Runs servables in batches. Its `run` is a Runner for Inference.

    Args:
        options: How batches are made.
        on_batch: Is told of the size of each batch and the seconds that its requests waited.
    """

    def __init__(
        self, options: BatchingOptions, on_batch: Callable[[int, list[float]], None] = lambda size, waits: None
    ) -> None:
        self._options, self._on_batch = options, on_batch
        self._condition = threading.Condition()
        # From what may share a batch to the batches that wait, oldest first; only the last one still takes tasks.
        self._queues: dict[Any, deque[list[_Task]]] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{i}", daemon=True)
            for i in range(options.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self, servable: Servable, feeds: dict[str, np.ndarray], fetches: list[str], timeout: float | None
    ) -> list[np.ndarray]:
        """Run a request, together with others where it can be.

        Raises:
            ServingError: RESOURCE_EXHAUSTED if too many wait, DEADLINE_EXCEEDED if it took too long, or what the
                model answers.
        """
        if not servable.takes_batches(tuple(feeds)):
            return servable.run(feeds, fetches, timeout)
        now = time.monotonic()
        deadline = None if timeout is None else now + timeout
        tasks = [
            _Task(feeds=part, size=size, deadline=deadline, since=now, done=Future())
            for part, size in split_rows(feeds, self._size(feeds), self._options.largest)
        ]
        try:
            for task in tasks:
                self._enqueue((servable, tuple(fetches), self._shapes(feeds)), task)
            found = [task.done.result(None if deadline is None else deadline - time.monotonic()) for task in tasks]
        except FutureTimeoutError as error:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out while waiting for a batch.") from error
        finally:
            for task in tasks:
                task.done.cancel()  # does nothing to those that are done
        return found[0] if len(found) == 1 else [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def close(self) -> None:
        """Run what waits, and stop."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _size(self, feeds: dict[str, np.ndarray]) -> int:
        if any(value.ndim == 0 for value in feeds.values()):
            raise invalid("Batching session Run() input tensors must have at least one dimension")
        sizes = {len(value) for value in feeds.values()}
        if len(sizes) > 1:
            raise invalid("Batching session Run() input tensors must have equal 0th-dimension size")
        size = sizes.pop()
        if size > self._options.max_batch_size:
            raise invalid(f"Task size {size} is larger than maximum input batch size {self._options.max_batch_size}")
        return size

    def _shapes(self, feeds: dict[str, np.ndarray]) -> tuple[Any, ...]:
        pad = self._options.pad_variable_length_inputs
        return tuple(
            (name, str(value.dtype), value.ndim if pad else value.shape[1:]) for name, value in sorted(feeds.items())
        )

    def _enqueue(self, key: Any, task: _Task) -> None:
        with self._condition:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down.")
            queue = self._queues.setdefault(key, deque())
            if not queue or sum(each.size for each in queue[-1]) + task.size > self._options.largest:
                if len(queue) >= self._options.max_enqueued_batches:
                    raise ServingError(
                        Code.RESOURCE_EXHAUSTED, "The batch scheduling queue to which this task was submitted is full"
                    )
                queue.append([])
            queue[-1].append(task)
            self._condition.notify()

    def _work(self) -> None:
        while (found := self._next()) is not None:
            (servable, fetches, _), tasks = found
            self._run(servable, list(fetches), tasks)

    def _next(self) -> tuple[Any, list[_Task]] | None:
        """Wait for a batch that is full or old enough, and take it; None when closed and empty."""
        with self._condition:
            while True:
                soonest = None
                for key in list(self._queues):
                    ready = self._ready_at(self._queues[key])
                    if ready <= time.monotonic() or self._closed:
                        return key, self._take(key)
                    soonest = ready if soonest is None else min(soonest, ready)
                if self._closed:
                    return None
                self._condition.wait(None if soonest is None else max(0.0, soonest - time.monotonic()))

    def _ready_at(self, queue: deque[list[_Task]]) -> float:
        first = queue[0]
        if len(queue) > 1 or sum(task.size for task in first) >= self._options.largest:
            return 0.0
        return first[0].since + self._options.batch_timeout_micros / 1e6

    def _take(self, key: Any) -> list[_Task]:
        queue = self._queues.pop(key)
        tasks = queue.popleft()
        if queue:
            self._queues[key] = queue  # at the end: other queues come first next time
            self._condition.notify()
        return tasks

    def _run(self, servable: Servable, fetches: list[str], tasks: list[_Task]) -> None:
        now = time.monotonic()
        live = [task for task in tasks if task.done.set_running_or_notify_cancel()]
        for task in [task for task in live if task.deadline is not None and task.deadline <= now]:
            live.remove(task)
            task.done.set_exception(ServingError(Code.DEADLINE_EXCEEDED, "Timed out while waiting for a batch."))
        if not live:
            return
        self._on_batch(sum(task.size for task in live), [now - task.since for task in live])
        try:
            outputs = self._run_together(servable, fetches, live)
        except Exception as error:
            self._run_apart(servable, fetches, live, failure(error))
            return
        for task, output in zip(live, outputs, strict=True):
            task.done.set_result(output)

    def _run_together(self, servable: Servable, fetches: list[str], tasks: list[_Task]) -> list[list[np.ndarray]]:
        sizes = [task.size for task in tasks]
        feeds = join([task.feeds for task in tasks])
        total = sum(sizes)  # rows are padded with copies of the first one; no rows stay none
        wanted = next((size for size in self._options.allowed_batch_sizes if size >= total > 0), total)
        left = [task.deadline for task in tasks]
        timeout = None if None in left else max(each for each in left if each is not None) - time.monotonic()
        outputs = servable.run(pad_rows(feeds, wanted), fetches, timeout)
        return split(outputs, sizes, wanted)

    def _run_apart(self, servable: Servable, fetches: list[str], tasks: list[_Task], error: ServingError) -> None:
        """Give each request its own answer where a batch failed: one bad image must not fail its neighbours."""
        for task in tasks:
            if len(tasks) == 1:
                task.done.set_exception(error)
                return
            try:
                task.done.set_result(self._run_together(servable, fetches, [task])[0])
            except Exception as own:
                task.done.set_exception(failure(own))
