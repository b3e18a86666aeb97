"""What the embedded server bears: requests a second, and how long they take, against calls within one process.

    python benchmarks/serving_load.py [--seconds 5] [--clients 1,8,32,128] [--soak 0] [--quick]

The models are the demo's: intents with MiniLM, and 8 x 8 digits with glyphs. Each request holds one example, drawn with
seed 0. "loop" calls the model for one example after the other in one process, the limit without batching; "batches of
32" calls it for full batches, the limit with batching. The server is a process of its own, and so are all the clients
together; everything shares the machine. Each client waits for its answer before it asks again. With batching, a batch
holds up to 32 examples and waits up to 2 ms. --soak SECONDS asks for texts at 80 % of what 32 clients reach over REST
with batching for half a minute, and looks at the server's memory and at errors.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCHING = "max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } max_enqueued_batches { value: 64 }"
ENVIRONMENT = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
Ask = Callable[[int], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row of the table")
    parser.add_argument("--clients", default="1,8,32,128")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shared", type=Path, help="not needed")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        {"calls": worker_calls, "clients": worker_clients}[options.worker[0]](options.worker[1:])
        return
    if options.quick:
        options.seconds, options.clients = 1.0, "1,8"
    print("command:", " ".join(sys.argv))
    with tempfile.TemporaryDirectory() as folder:
        work(Path(folder), options)


def work(folder: Path, options: argparse.Namespace) -> None:
    examples = write_models(folder)
    (folder / "batching.txt").write_text(BATCHING)
    for name in examples:
        file = folder / f"{name}.json"
        file.write_text(json.dumps(examples[name]))
        calls = run_worker("calls", folder / name, file, options.seconds)
        print(
            f"\n{name}: loop {calls['loop']:.0f} a second (median {calls['p50']:.2f} ms), "
            f"batches of 32 {calls['batches']:.0f} a second"
        )
        print(f"{'':6} {'batching':8} {'clients':>7} {'a second':>8} {'of loop':>7} {'p50 ms':>7} {'p99 ms':>7} errors")
        for batching in (False, True):
            with Served(folder, name, batching) as served:
                for protocol in ("rest", "grpc"):
                    for clients in map(int, options.clients.split(",")):
                        found = run_worker(
                            "clients", protocol, served.address(protocol), clients, options.seconds, 0, file
                        )
                        show(protocol, batching, clients, found, calls)
        if options.soak and name == "intents":
            soak(folder, file, options.soak)


def show(protocol: str, batching: bool, clients: int, found: dict[str, Any], calls: dict[str, float]) -> None:
    print(
        f"{protocol:6} {'on' if batching else 'off':8} {clients:7} {found['rate']:8.0f} "
        f"{found['rate'] / calls['loop']:7.2f} {found['p50']:7.2f} {found['p99']:7.2f} {found['errors']:6}"
        + (f"  overhead {found['p50'] - calls['p50']:.2f} ms" if clients == 1 and not batching else ""),
        flush=True,
    )


def soak(folder: Path, file: Path, seconds: float) -> None:
    """Ask at a fixed rate for a long time, and follow the server's memory."""
    with Served(folder, "intents", True) as served:
        # longer than a row of the table: a machine may do for a few seconds what it does not do for minutes
        most = run_worker("clients", "rest", served.address("rest"), 32, min(30.0, seconds / 2), 0, file)["rate"]
        rate = 0.8 * most
        command = worker_command("clients", "rest", served.address("rest"), 32, seconds, rate, file)
        clients = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        memory: list[tuple[float, int]] = []
        started = time.monotonic()
        while clients.poll() is None:
            memory.append((time.monotonic() - started, served.memory()))
            time.sleep(min(5.0, seconds / 50))
        assert clients.stdout is not None
        found = json.loads(clients.stdout.read())
    warm = [size for at, size in memory if at >= seconds / 5]
    third = max(1, len(warm) // 8)
    before, after = statistics.median(warm[:third]), statistics.median(warm[-third:])
    print(
        f"soak: {seconds:.0f} s at {rate:.0f} a second asked, {found['rate']:.0f} answered; p50 {found['p50']:.2f} ms, "
        f"p99 {found['p99']:.2f} ms; {found['errors']} errors; memory {before / 2**20:.0f} MiB after a fifth of the "
        f"time, {after / 2**20:.0f} MiB at the end ({after / before - 1:+.2%})"
    )


class Served:
    """`tfembed serve` in a process of its own."""

    def __init__(self, folder: Path, name: str, batching: bool) -> None:
        flags = ["--port", "0", "--rest_api_port", "0", "--rest_api_num_threads", "160", "--grpc_max_threads", "160"]
        if batching:
            flags += ["--enable_batching", "--batching_parameters_file", str(folder / "batching.txt")]
        command = [sys.executable, "-m", "tfembed", "serve", str(folder / name), *flags]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def __enter__(self) -> "Served":
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith("REST "):
                words = line.split()
                self._addresses = {"rest": words[1].removeprefix("http://"), "grpc": words[3]}
                return self
        raise RuntimeError("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def address(self, protocol: str) -> str:
        return self._addresses[protocol]

    def memory(self) -> int:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def write_models(folder: Path) -> dict[str, dict[str, Any]]:
    """Export both models; the name of each one's input with examples for it, as JSON."""
    import keras

    import tfembed as te

    keras.utils.set_random_seed(0)
    texts = te.load_text(te.resource_path("intents"), label="intent")
    model = te.build_text_classifier(te.load_encoder("minilm"), texts.class_names)
    te.train(model, texts.few_shot(10), te.linear_probe())
    te.export(model, folder / "intents")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    digits = te.build_image_classifier(te.load_encoder("glyphs"), list("0123456789"))
    te.export(digits, folder / "digits", examples=pixels)
    import base64

    import tensorflow as tf

    encoded = [base64.b64encode(tf.io.encode_png(each).numpy()).decode() for each in pixels]
    return {
        "intents": {"input": "text", "examples": [str(text) for text in texts.test.examples]},
        "digits": {"input": "image_bytes", "examples": [{"b64": each} for each in encoded]},
    }


def worker_command(*arguments: Any) -> list[str]:
    return [sys.executable, __file__, "--worker", *map(str, arguments)]


def run_worker(*arguments: Any) -> dict[str, Any]:
    run = subprocess.run(worker_command(*arguments), stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT)
    return json.loads(run.stdout.splitlines()[-1])


def raw_examples(file: str) -> tuple[str, list[bytes]]:
    from tfembed.serving.json_tensors import decode_base64

    found = json.loads(Path(file).read_text())
    each = [decode_base64(example) if isinstance(example, dict) else example.encode() for example in found["examples"]]
    return found["input"], each


def worker_calls(arguments: list[str]) -> None:
    """The model in this process: single calls and full batches, by Python's signature call."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    base, file, seconds = arguments
    name, examples = raw_examples(file)
    model = tf.saved_model.load(str(Path(base) / "1"))  # kept: signatures hold no variables
    signature = model.signatures["serving_default"]
    random.Random(0).shuffle(examples)

    def timed(size: int) -> tuple[float, list[float]]:
        times: list[float] = []
        started, i = time.perf_counter(), 0
        while time.perf_counter() - started < float(seconds):
            batch = [examples[(i + k) % len(examples)] for k in range(size)]
            before = time.perf_counter()
            signature(**{name: tf.constant(batch)})["label"].numpy()
            times.append(time.perf_counter() - before)
            i += size
        return i / (time.perf_counter() - started), times

    timed(1), timed(32)  # warms up
    loop, times = timed(1)
    print(json.dumps({"loop": loop, "p50": statistics.median(times) * 1000, "batches": timed(32)[0]}))


def worker_clients(arguments: list[str]) -> None:
    """Clients in this process, as light as can be."""
    protocol, address, clients, seconds, rate, file = arguments
    asks = ask_rest if protocol == "rest" else ask_grpc
    asyncio.run(load(asks, address, int(clients), float(seconds), float(rate), file))


async def load(asks: Any, address: str, clients: int, seconds: float, rate: float, file: str) -> None:
    times: list[float] = []
    errors = 0
    ends: list[float] = [0.0]

    async def client(number: int) -> None:
        nonlocal errors
        rng = random.Random(number)
        async with asks(address, file) as ask:
            for _ in range(3):
                await ask(rng)
            await warm.wait()
            await ready.wait()
            due = time.perf_counter() + rng.random() * clients / rate if rate else 0.0
            while time.perf_counter() < ends[0]:
                if rate:
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    due += clients / rate
                before = time.perf_counter()
                try:
                    await ask(rng)
                except Exception:
                    errors += 1
                times.append(time.perf_counter() - before)

    ready, warm = asyncio.Event(), asyncio.Barrier(clients + 1)
    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    await warm.wait()  # the first requests, which TensorFlow optimizes its graph for, are not measured
    started = time.perf_counter()
    ends[0] = started + seconds
    ready.set()
    await asyncio.gather(*tasks)
    spent = time.perf_counter() - started
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    print(json.dumps({"rate": len(times) / spent, "p50": p50, "p99": p99, "errors": errors}))


class ask_rest:
    """Keep-alive HTTP/1.1 by hand: a client library would take more time than the server."""

    def __init__(self, address: str, file: str) -> None:
        self._address = address
        self._bodies = [
            json.dumps({"instances": [example]}).encode() for example in json.loads(Path(file).read_text())["examples"]
        ]
        self._name = Path(file).stem

    async def __aenter__(self) -> Ask:
        host, port = self._address.split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        return self._ask  # type: ignore[return-value]

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def _ask(self, rng: random.Random) -> None:
        body = rng.choice(self._bodies)
        head = f"POST /v1/models/{self._name}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answered = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answered.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found = await self._reader.readexactly(length)
        if not answered.startswith(b"HTTP/1.1 200") or b"predictions" not in found:
            raise RuntimeError(found[:200])


class ask_grpc:
    """The official stub, on grpc.aio."""

    def __init__(self, address: str, file: str) -> None:
        from tensorflow_serving.apis import predict_pb2

        self._address, self._requests = address, []
        name, examples = raw_examples(file)
        for example in examples:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = Path(file).stem
            request.inputs[name].dtype = 7
            request.inputs[name].tensor_shape.dim.add().size = 1
            request.inputs[name].string_val.append(example)
            self._requests.append(request)

    async def __aenter__(self) -> Ask:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        # A connection for each client, as clients of their own would have.
        self._channel = grpc.aio.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)])
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        return self._ask  # type: ignore[return-value]

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def _ask(self, rng: random.Random) -> None:
        await self._predict(rng.choice(self._requests), timeout=60)


if __name__ == "__main__":
    main()
