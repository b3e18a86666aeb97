"""The whole server: limits, times, TLS, metrics, and how it stops."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfembed.serving.inference import run_directly
from tfembed.serving.limits import Limits
from tfembed.serving.server import Running, run_server
from tfembed.serving.settings import Settings

LIMITS = Limits(max_request_bytes=10_000, max_pending_requests=2, read_seconds=1.0, max_connections=20)


@pytest.fixture(scope="module")
def settings(models: Path) -> Settings:
    """One model, with tight limits, on free ports."""
    return Settings(model_base_path=models / "half_plus_two", model_name="half", port=0, rest_api_port=0, limits=LIMITS)


@pytest.fixture(scope="module")
def tight(settings: Settings) -> Iterator[Running]:
    with run_server(settings) as running:
        yield running


def predict_url(running: Running) -> str:
    return f"{running.rest_url}/v1/models/half:predict"


def address_of(running: Running) -> tuple[str, int]:
    host, port = running.rest_url.removeprefix("http://").split(":")
    return host, int(port)


class Held:
    """A runner that holds requests until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.proceed = threading.Semaphore(0), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.entered.release()
        assert self.proceed.wait(30)
        return run_directly(*arguments)


def test_large_bodies(tight: Running) -> None:
    """A body beyond the limit is refused: by what it announces, by what comes, and by what it unpacks to."""
    url = predict_url(tight)
    assert requests.post(url, data=b" " * 20_000, timeout=10).status_code == 413
    assert requests.post(url, data=iter([b" " * 5_000] * 4), timeout=10).status_code == 413
    bomb = gzip.compress(b" " * 5_000_000)
    assert len(bomb) < 10_000
    answer = requests.post(url, data=bomb, headers={"Content-Encoding": "gzip"}, timeout=10)
    assert (answer.status_code, list(answer.json())) == (413, ["error"])


def test_gzip(tight: Running) -> None:
    """Requests may be compressed; long answers are, where they may."""
    url = predict_url(tight)
    body = gzip.compress(b'{"instances": [2]}')
    answer = requests.post(url, data=body, headers={"Content-Encoding": "gzip"}, timeout=10)
    assert answer.json() == {"predictions": [3.0]}
    assert "Content-Encoding" not in answer.headers
    for bad in (body[:-4], b"no gzip"):
        assert requests.post(url, data=bad, headers={"Content-Encoding": "gzip"}, timeout=10).status_code == 400
    assert requests.post(url, data=b"x", headers={"Content-Encoding": "br"}, timeout=10).status_code == 415
    answer = requests.post(url, json={"instances": [2] * 1000}, timeout=10)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.json()["predictions"]) == 1000


@pytest.mark.parametrize(
    "sent", [b"GET / HTT", b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
)
def test_slow_clients_are_cut_off(tight: Running, sent: bytes) -> None:
    """Who does not send a request to its end in time loses the connection."""
    with socket.create_connection(address_of(tight), timeout=20) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received == b"" or received.startswith(b"HTTP/1.1 408 ")


def test_endless_headers_are_cut_off(settings: Settings) -> None:
    """Headers beyond 64 KiB end the connection, long before the time is over."""
    patient = replace(settings, limits=replace(LIMITS, read_seconds=60))
    with run_server(patient) as running, socket.create_connection(address_of(running), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall((b"a: " + b"b" * 1000 + b"\r\n") * 20_000)


def test_no_http(tight: Running) -> None:
    """What is no HTTP is answered with 400."""
    with socket.create_connection(address_of(tight), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_back_pressure(settings: Settings) -> None:
    """When as many requests wait as may, REST answers 429 and gRPC RESOURCE_EXHAUSTED; later all is well."""
    with run_server(settings) as running, ThreadPoolExecutor(2) as threads:
        running.service.runner = held = Held()
        waiting = [threads.submit(requests.post, predict_url(running), '{"instances": [2]}') for _ in range(2)]
        for _ in range(2):
            assert held.entered.acquire(timeout=30)
        refused = requests.post(predict_url(running), data='{"instances": [2]}', timeout=10)
        assert (refused.status_code, list(refused.json())) == (429, ["error"])
        held.proceed.set()
        assert [each.result(30).status_code for each in waiting] == [200, 200]
        assert requests.post(predict_url(running), data='{"instances": [2]}', timeout=10).status_code == 200
    with run_server(settings) as running, grpc.insecure_channel(running.grpc_address) as channel:
        running.service.runner = held = Held()
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "half"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([2])))
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        futures = [predict.future(request, timeout=30) for _ in range(2)]
        for _ in range(2):
            assert held.entered.acquire(timeout=30)
        with pytest.raises(grpc.RpcError) as caught:
            predict(request, timeout=30)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.proceed.set()
        assert [each.result().outputs["y"].float_val[0] for each in futures] == [3.0, 3.0]


def test_too_many_bytes(settings: Settings) -> None:
    """Requests wait until those before them are answered; too many bytes together, or for one, are refused."""
    limits = replace(LIMITS, max_pending_bytes=1000, max_pending_requests=8)  # of which one takes about 600
    few = replace(settings, limits=limits)
    with run_server(few) as running, ThreadPoolExecutor(2) as threads:
        running.service.runner = held = Held()
        first, second = (threads.submit(requests.post, predict_url(running), '{"instances": [2]}') for _ in range(2))
        assert held.entered.acquire(timeout=30)
        assert not held.entered.acquire(blocking=False)
        spaces = " " * 990
        assert requests.post(predict_url(running), data='{"instances": [2]}' + spaces, timeout=10).status_code == 429
        refused = requests.post(predict_url(running), data='{"instances": [2, 3, [4], [5]]}', timeout=10)
        assert (refused.status_code, "about 1471 bytes of memory" in refused.json()["error"]) == (413, True)
        held.proceed.set()
        assert [first.result(30).status_code, second.result(30).status_code] == [200, 200]
        assert requests.post(predict_url(running), data='{"instances": [2]}', timeout=10).status_code == 200


def test_a_request_that_waits_too_long_for_memory(settings: Settings) -> None:
    """It is answered with 504, like any other that is not answered in time."""
    few = replace(settings, limits=replace(LIMITS, max_pending_bytes=1000), rest_api_timeout_in_ms=200)
    with run_server(few) as running, ThreadPoolExecutor(1) as threads:
        running.service.runner = held = Held()
        first = threads.submit(requests.post, predict_url(running), '{"instances": [2]}')
        assert held.entered.acquire(timeout=30)
        refused = requests.post(predict_url(running), data='{"instances": [2]}', timeout=10)
        assert (refused.status_code, "waited too long" in refused.json()["error"]) == (504, True)
        held.proceed.set()
        first.result(30)


def test_a_request_that_takes_too_long(settings: Settings, tmp_path: Path) -> None:
    """A REST request that cannot be answered in its time is answered with 504."""
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 }")
    patient = replace(settings, enable_batching=True, batching_parameters_file=file, rest_api_timeout_in_ms=20)
    with run_server(patient) as running:
        answer = requests.post(predict_url(running), data='{"instances": [2]}', timeout=10)
    assert (answer.status_code, list(answer.json())) == (504, ["error"])


def test_too_many_connections(settings: Settings) -> None:
    """Connections beyond the limit are answered with 503."""
    with run_server(replace(settings, limits=replace(LIMITS, max_connections=2, read_seconds=30))) as running:
        with socket.create_connection(address_of(running), timeout=20):
            assert requests.get(f"{running.rest_url}/v1/models/half", timeout=10).status_code == 503
        # as soon as the server has noticed
        while requests.get(f"{running.rest_url}/v1/models/half", timeout=10).status_code != 200:
            pass


def test_what_came_in_is_answered(settings: Settings) -> None:
    """A server that stops takes no more connections, and answers those that wait."""
    held = Held()

    def release_when_closed() -> None:
        while True:
            try:
                socket.create_connection(address_of(running), timeout=5).close()
            except OSError:
                held.proceed.set()
                return

    with ThreadPoolExecutor(2) as threads:
        with run_server(settings) as running:
            running.service.runner = held
            answer = threads.submit(requests.post, predict_url(running), '{"instances": [2]}')
            assert held.entered.acquire(timeout=30)
            threads.submit(release_when_closed)
        assert answer.result(30).json() == {"predictions": [3.0]}


def test_metrics(settings: Settings) -> None:
    """Requests are counted under TensorFlow Serving's names, in a format that Prometheus reads."""
    with run_server(settings) as running:
        for body in ('{"instances": [2]}', "no JSON"):
            requests.post(predict_url(running), data=body, timeout=10)
        requests.post(f"{running.rest_url}/v1/models/nobody:predict", data='{"instances": [2]}', timeout=10)
        answer = requests.get(f"{running.rest_url}/monitoring/prometheus/metrics", timeout=10)
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
    counts = {
        (each.labels["model_name"], each.labels["status"]): each.value
        for each in samples
        if each.name.removesuffix("_total") == ":tensorflow:serving:request_count"  # the parser adds it to counters
    }
    assert counts == {("half", "OK"): 1, ("half", "INVALID_ARGUMENT"): 1, ("", "NOT_FOUND"): 1}
    assert sum(each.value for each in samples if each.name == ":tensorflow:serving:request_latency_count") == 3
    assert any(each.name == ":tensorflow:serving:runtime_latency_bucket" for each in samples)
    assert any(each.name.startswith(":tensorflow:cc:saved_model:load_attempt_count") for each in samples)


def test_monitoring_config(settings: Settings, tmp_path: Path) -> None:
    """The file moves the metrics, or turns them off."""
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true path: "/metrics" }')
    with run_server(replace(settings, monitoring_config_file=file)) as running:
        assert requests.get(f"{running.rest_url}/metrics", timeout=10).status_code == 200
        assert requests.get(f"{running.rest_url}/monitoring/prometheus/metrics", timeout=10).status_code == 404
    file.write_text("prometheus_config { enable: false }")
    with run_server(replace(settings, monitoring_config_file=file)) as running:
        assert requests.get(f"{running.rest_url}/metrics", timeout=10).status_code == 404


def test_cors(settings: Settings) -> None:
    """Pages of other origins may call only where the flag says so."""
    for allowed in (False, True):
        with run_server(replace(settings, rest_api_enable_cors_support=allowed)) as running:
            answer = requests.options(predict_url(running), timeout=10)
            assert (answer.status_code == 200) is allowed
            refused = requests.get(f"{running.rest_url}/nothing", timeout=10)
            for each in (answer, refused):
                assert each.headers.get("Access-Control-Allow-Origin") == ("*" if allowed else None)


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
def test_hosts(settings: Settings, host: str) -> None:
    """An address of IPv6 will do, with or without brackets, and a name."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with run_server(replace(settings, host=host)) as running:
        assert requests.get(f"{running.rest_url}/v1/models/half", timeout=10).status_code == 200
        with grpc.insecure_channel(running.grpc_address) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)


def test_a_taken_port(tight: Running, settings: Settings) -> None:
    """A port that somebody has is said at once."""
    port = address_of(tight)[1]
    with (
        pytest.raises(OSError, match=f"REST cannot listen on 127.0.0.1:{port}"),
        run_server(replace(settings, rest_api_port=port)),
    ):
        pass
    port = int(tight.grpc_address.split(":")[1])
    with (
        pytest.raises(OSError, match=f"gRPC cannot listen on 127.0.0.1:{port}"),
        run_server(replace(settings, port=port)),
    ):
        pass


def test_batching_over_rest(settings: Settings, tmp_path: Path) -> None:
    """With a parameters file, requests of several clients share a run."""
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 }")
    batched = replace(settings, enable_batching=True, batching_parameters_file=file, limits=Limits())
    with run_server(batched) as running, ThreadPoolExecutor(4) as threads:
        bodies = [f'{{"instances": [{i}]}}' for i in range(4)]
        found = list(
            threads.map(lambda body: requests.post(predict_url(running), data=body, timeout=30).json(), bodies)
        )
        text = running.service.metrics.text()
    assert found == [{"predictions": [2 + i / 2]} for i in range(4)]
    assert ":tensorflow:serving:batching_session:processed_batch_size_sum{} 4" in text
    assert ":tensorflow:serving:batching_session:processed_batch_size_count{} 1" in text


def test_batching_over_grpc_without_a_deadline(settings: Settings, tmp_path: Path) -> None:
    """A client that sets no deadline, which gRPC makes one centuries away, is answered."""
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 1000 }")
    batched = replace(settings, enable_batching=True, batching_parameters_file=file)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([2])))
    with run_server(batched) as running, grpc.insecure_channel(running.grpc_address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        assert predict(request).outputs["y"].float_val[0] == 3.0


def test_the_command(models: Path) -> None:
    """`tfembed serve` says where it listens, serves, and ends with 0 on SIGTERM."""
    command = [sys.executable, "-m", "tfembed", "serve", str(models / "half_plus_two")]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        [*command, "--port", "0", "--rest_api_port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("REST "):
            break
    assert "half_plus_two version 123 available\n" in lines
    url = lines[-1].split()[1]
    answer = requests.post(f"{url}/v1/models/half_plus_two:predict", data='{"instances": [2]}', timeout=10)
    assert answer.json() == {"predictions": [3.0]}
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 0, rest
    assert rest.splitlines() == ["stopping: what has come in is answered first"]
