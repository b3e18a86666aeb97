"""Workers: trials in processes of their own, with keras-tuner's chief and workers, on this machine or on several.

The chief is a process with the oracle, and each worker one that asks it for trials; they find each other by
keras-tuner's environment variables. On this machine they are set here; on several they are set by hand, and each
machine starts the process that they name.

keras-tuner's chief leaves when no worker that ever asked it is left, and a worker that asks later waits for it for
hours; a chief that no worker asks again waits for ever. So the end is decided here, by whoever started the processes.
"""

import logging
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

CHIEF, _NAME, _ADDRESS = "chief", "KERASTUNER_TUNER_ID", ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
_TICK = 1.0  # seconds
_GRACE = 5.0  # seconds
_MOST_DEATHS = 3  # of a worker's processes in one trial
# Seconds without a chief on another machine: until it is said, until it is given up before it was ever there, and until
# one that was there is taken to have left.
_SAID_AFTER, _GIVEN_UP_AFTER, _GONE_AFTER = 30.0, 1800.0, 20.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The processes that share trials, as far as this machine starts them.

    Attributes:
        roles: `"chief"`, and names of workers that end with a number.
        address: Environment variables that say where the chief is.
    """

    roles: tuple[str, ...]
    address: Mapping[str, str]

    @property
    def leads(self) -> bool:
        """Whether the chief is here, so that this machine does what comes before and after the trials."""
        return CHIEF in self.roles


def team_of(workers: int) -> Team | None:
    """The team that keras-tuner's environment variables say this machine is in, or one of so many workers on it.

    Args:
        workers: How many workers there are in all.

    Returns:
        The team; None where a single process does everything.

    Raises:
        ValueError: If some of the environment variables are missing, or a worker's name has no number.
    """
    given = {name: os.environ.get(name, "") for name in (_NAME, *_ADDRESS)}
    role = given.pop(_NAME)
    if any(given.values()) or role:
        if not all(given.values()) or not (role == CHIEF or re.fullmatch(r"worker-\d+", role)):
            raise ValueError(
                f"{_NAME}={role!r}, {', '.join(f'{name}={value!r}' for name, value in given.items())}: expected chief, "
                "or worker-0, worker-1, ..., and the address of the chief; or none of the three."
            )
        return Team(roles=(role,), address=given)
    if workers < 1:
        raise ValueError(f"workers={workers}: expected 1 or more.")
    if workers == 1:
        return None
    address = dict(zip(_ADDRESS, ("127.0.0.1", str(_free_port())), strict=True))
    return Team(roles=(CHIEF, *(f"worker-{number}" for number in range(workers))), address=address)


@dataclass(slots=True)
class _Worker:
    """A worker, whose process may be another one after it died: the chief gives it the same trial again."""

    role: str
    process: Any = None
    deaths: int = 0


@dataclass(slots=True)
class _FarChief:
    """The chief on another machine, as far as it can be told from here: whether something listens at its address.

    Attributes:
        address: Host and port.
        seen: Time at which it was last there.
        was_there: True once it was.
        is_said: True once it was said that it is waited for.
    """

    address: tuple[str, int]
    seen: float = field(default_factory=time.monotonic)
    was_there: bool = False
    is_said: bool = False

    def has_left(self) -> bool:
        """Look for it; True if it was there and is no more.

        Raises:
            ConnectionError: If it never came.
        """
        with suppress(OSError), socket.create_connection(self.address, timeout=_TICK):
            self.seen, self.was_there = time.monotonic(), True
            return False
        away, where = time.monotonic() - self.seen, ":".join(map(str, self.address))
        if not self.was_there and away > _GIVEN_UP_AFTER:
            raise ConnectionError(
                f"No chief answers at {where}: the search is over, or was not begun. Start the chief first."
            )
        if not self.was_there and away > _SAID_AFTER and not self.is_said:
            self.is_said = True
            logger.warning("waiting for the chief at %s", where)
        return self.was_there and away > _GONE_AFTER


def run_team(job: Any, team: Team, devices: int, on_tick: Callable[[], None]) -> None:
    """Run a team's processes until the chief has no more trials, or no worker that would ask it is left.

    A chief ends only when no trial runs, so that workers that are left then have nothing to do, and are ended. A
    worker's process that dies, killed or out of memory, is replaced by another one, which is given the same trial and
    goes on from its last phase. A trial in which three processes died is marked failed.

    Args:
        job: A function that is called in each process with how many processes died before it; it must do what its
            environment variables say.
        team: Who does it.
        devices: GPUs of this machine; each worker sees one of them.
        on_tick: Called each second.

    Raises:
        RuntimeError: If the chief dies, or all workers do.
        ConnectionError: If the chief on another machine never came.
    """
    packed = cloudpickle.dumps(job)
    everyone = [_Worker(role) for role in team.roles]
    workers = [each for each in everyone if each.role != CHIEF]
    far_chief = None if team.leads else _FarChief((team.address[_ADDRESS[0]], int(team.address[_ADDRESS[1]])))

    def start(one: _Worker) -> None:
        place = int(one.role.rpartition("-")[2]) % devices if devices and one.role != CHIEF else ""
        seen = {"CUDA_VISIBLE_DEVICES": str(place)} if devices or one.role == CHIEF else {}
        one.process = _start(packed, one.deaths, {**team.address, _NAME: one.role, **seen})

    try:
        for each in everyone:
            start(each)
        while running := [each for each in everyone if each.process is not None]:
            multiprocessing.connection.wait([each.process.sentinel for each in running], _TICK)
            on_tick()
            for each in running:
                _replace_if_dead(each, start)
            if _is_over(everyone) or (far_chief is not None and far_chief.has_left()):
                _let_end(workers)
                break
        if workers and all(worker.deaths > _MOST_DEATHS for worker in workers):
            raise RuntimeError(
                f"All {len(workers)} workers died again and again: see what they said, or try workers=1."
            )
    finally:
        for process in (each.process for each in everyone):
            if process is not None and process.is_alive():
                process.kill()
                process.join()


def _is_over(everyone: list[_Worker]) -> bool:
    """True once the chief has ended, or all workers have; what is left then waits for what will not come."""
    chief = [each for each in everyone if each.role == CHIEF]
    workers = [each for each in everyone if each.role != CHIEF]
    return any(each.process is None for each in chief) or bool(workers and all(e.process is None for e in workers))


def _let_end(workers: list[_Worker]) -> None:
    """Wait a moment for workers that the chief has told to stop; one that has not begun to ask it would never end."""
    until = time.monotonic() + _GRACE
    for process in (each.process for each in workers if each.process is not None):
        process.join(max(0.0, until - time.monotonic()))


def _replace_if_dead(worker: _Worker, start: Callable[[_Worker], None]) -> None:
    code = worker.process.exitcode
    if code is None:
        return
    worker.process = None
    if code != 0 and worker.role == CHIEF:
        raise RuntimeError(f"The chief of the workers ended with exit code {code}.")
    if code != 0:
        worker.deaths += 1
        if worker.deaths <= _MOST_DEATHS:
            start(worker)


def too_many(deaths: int) -> bool:
    """Whether so many processes died in a trial that it is not tried again."""
    return deaths >= _MOST_DEATHS


def _start(packed: bytes, deaths: int, environment: Mapping[str, str]) -> Any:
    # Without it a file types.py or numpy.py in the working folder would stand in for the real one.
    with _environment({"PYTHONSAFEPATH": "1", **environment}):
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(packed, deaths), daemon=True)
        process.start()
    return process


def _run(packed: bytes, deaths: int) -> None:
    """What each process does; Ctrl-C is for the one that started it, which ends them all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # keras-tuner prints
    cloudpickle.loads(packed)(deaths)


@contextmanager
def without_role() -> Iterator[None]:
    """Hide keras-tuner's environment variables, which would make every oracle of this process a server or a client."""
    hidden = {name: os.environ.pop(name) for name in (_NAME, *_ADDRESS) if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


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
