"""Versions are added, removed and broken while clients ask without a pause, and not one request fails."""

import shutil
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from served_models import write_broken, write_half_plus
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfembed.serving.server import Running, run_server
from tfembed.serving.settings import Settings
from tfembed.serving.store import ModelStore
from tfembed.serving.versions import State


class Clients:
    """Threads that ask one after the other, over REST and gRPC, and remember what came back."""

    def __init__(self, running: Running, num_threads: int) -> None:
        self.failures: list[str] = []
        self.versions: set[int] = set()
        self._progress = threading.Condition()
        self._counts = [0] * num_threads
        self._stop = threading.Event()
        asks = [self._ask_rest, self._ask_grpc]
        self._threads = [
            threading.Thread(target=self._loop, args=(i, asks[i % 2], running)) for i in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, requests_each: int = 10) -> None:
        """Wait until each thread has had so many more answers."""
        with self._progress:
            wanted = [count + requests_each for count in self._counts]
            assert self._progress.wait_for(
                lambda: self.failures or all(a >= b for a, b in zip(self._counts, wanted, strict=True)), 60
            )

    def stop(self) -> int:
        """Stop asking; how many answers there were."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return sum(self._counts)

    def _loop(self, place: int, ask: Any, running: Running) -> None:
        try:
            for _ in ask(running):
                with self._progress:
                    self._counts[place] += 1
                    self._progress.notify_all()
                if self._stop.is_set():
                    return
        except Exception as error:
            with self._progress:
                self.failures.append(repr(error))
                self._progress.notify_all()

    def _ask_rest(self, running: Running) -> Any:
        url = f"{running.rest_url}/v1/models/m:predict"
        with requests.Session() as session:
            while True:
                answer = session.post(url, data='{"instances": [2]}', timeout=30)
                assert answer.status_code == 200, answer.text
                assert answer.json()["predictions"][0] in (3.0, 4.0)
                yield

    def _ask_grpc(self, running: Running) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([2])))
        with grpc.insecure_channel(running.grpc_address) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            while True:
                answer = predict(request, timeout=30)
                version = answer.model_spec.version.value
                assert answer.outputs["y"].float_val[0] == 3 + version % 2
                self.versions.add(version)
                yield


def states(store: ModelStore) -> dict[int, State]:
    spec = predict_pb2.PredictRequest().model_spec
    spec.name = "m"
    return {status.version: status.state for status in store.statuses(spec)}


@pytest.mark.parametrize("batching", [False, True])
def test_no_request_fails(tmp_path: Path, batching: bool) -> None:
    """Odd versions answer 4, even ones 3: every answer fits the version that gave it."""
    exported = [write_half_plus(tmp_path / f"plus_{plus:g}", plus) for plus in (2.0, 3.0)]
    base = tmp_path / "m"

    def publish(version: int) -> None:
        shutil.copytree(exported[version % 2], base / f".aside-{version}")
        (base / f".aside-{version}").rename(base / str(version))

    publish(1)
    settings = Settings(
        model_base_path=base,
        model_name="m",
        port=0,
        rest_api_port=0,
        file_system_poll_wait_seconds=0,
        enable_batching=batching,
    )
    with run_server(settings) as running:
        store = running.service.store
        clients = Clients(running, 4)
        try:
            clients.wait()
            publish(2)
            store.poll()
            clients.wait()
            write_broken(base / "3")
            store.poll()
            clients.wait()
            assert (states(store)[2], states(store)[3]) == (State.AVAILABLE, State.END)
            shutil.rmtree(base / "3")
            (base / "5").mkdir()  # written in place, as nobody should: seen before it is whole
            store.poll()
            shutil.copytree(exported[1], base / "5", dirs_exist_ok=True)
            store.poll()
            clients.wait()
            assert states(store)[5] == State.AVAILABLE
            shutil.rmtree(base / "5")
            store.poll()
            clients.wait()
            publish(6)
            shutil.rmtree(base / "2")
            store.poll()
            clients.wait()
        finally:
            total = clients.stop()
    assert clients.failures == []
    assert clients.versions == {1, 2, 5, 6}
    assert total >= 4 * 60
