"""Workers: trials in processes of their own, with keras-tuner's chief and workers, on this machine.

The chief is a process with the oracle, and each worker one that asks it for trials; they find each other by
keras-tuner's environment variables. On many machines the same variables are set by hand.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cloudpickle

_TICK = 1.0  # seconds
_MOST_DEATHS = 3  # of a worker's processes in one trial


@dataclass(slots=True)
class _Worker:
    """A worker, whose process may be another one after it died: the chief gives it the same trial again."""

    number: int
    process: Any = None
    deaths: int = 0


def run_workers(job: Any, count: int, devices: int, on_tick: Callable[[], None]) -> None:
    """Run a chief and some workers until the chief has no more trials.

    A worker's process that dies, killed or out of memory, is replaced by another one, which is given the same trial and
    goes on from its last phase. A trial in which three processes died is marked failed.

    Args:
        job: A function that is called in each process with how many processes died before it; it must do what its
            environment variables say.
        count: How many workers.
        devices: GPUs of this machine; each worker sees one of them.
        on_tick: Called each second.

    Raises:
        RuntimeError: If the chief dies, or all workers do.
    """
    packed = cloudpickle.dumps(job)
    chief_at = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(_free_port())}
    chief = _start(packed, 0, chief_at | {"KERASTUNER_TUNER_ID": "chief", "CUDA_VISIBLE_DEVICES": ""})
    workers = [_Worker(number) for number in range(count)]

    def start(worker: _Worker) -> None:
        seen = {"CUDA_VISIBLE_DEVICES": str(worker.number % devices)} if devices else {}
        name = {"KERASTUNER_TUNER_ID": f"worker-{worker.number}"}
        worker.process = _start(packed, worker.deaths, chief_at | name | seen)

    try:
        for worker in workers:
            start(worker)
        while running := [worker for worker in workers if worker.process is not None]:
            sentinels = [worker.process.sentinel for worker in running]
            multiprocessing.connection.wait(sentinels if chief.exitcode == 0 else [chief.sentinel, *sentinels], _TICK)
            on_tick()
            for worker in running:
                _replace_if_dead(worker, start)
            if chief.exitcode not in (None, 0):
                raise RuntimeError(f"The chief of the workers ended with exit code {chief.exitcode}.")
        if all(worker.deaths > _MOST_DEATHS for worker in workers):
            raise RuntimeError(f"All {count} workers died again and again: see what they said, or try workers=1.")
    finally:
        for process in [chief, *(worker.process for worker in workers)]:
            if process is not None and process.is_alive():
                process.kill()
                process.join()


def _replace_if_dead(worker: _Worker, start: Callable[[_Worker], None]) -> None:
    code = worker.process.exitcode
    if code is None:
        return
    worker.process = None
    if code != 0:
        worker.deaths += 1
        if worker.deaths <= _MOST_DEATHS:
            start(worker)


def too_many(deaths: int) -> bool:
    """Whether so many processes died in a trial that it is not tried again."""
    return deaths >= _MOST_DEATHS


def _start(packed: bytes, deaths: int, environment: Mapping[str, str]) -> Any:
    with _environment(environment):
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(packed, deaths), daemon=True)
        process.start()
    return process


def _run(packed: bytes, deaths: int) -> None:
    """What each process does; Ctrl-C is for the one that started it, which ends them all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # keras-tuner prints
    cloudpickle.loads(packed)(deaths)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])
