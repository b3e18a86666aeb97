"""The clients of serving_load.py, all in this process, as light as can be; prints what they found, as JSON.

    python serving_clients.py rest|grpc ADDRESS CLIENTS SECONDS RATE EXAMPLES

RATE is what all of them together ask for in a second; 0 as much as they get answered.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

Ask = Callable[[random.Random], Awaitable[None]]


def main() -> None:
    protocol, address, clients, seconds, rate, file = sys.argv[1:]
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


def raw_examples(file: str) -> tuple[str, list[bytes]]:
    from tfembed.serving.json_tensors import decode_base64

    found = json.loads(Path(file).read_text())
    each = [decode_base64(example) if isinstance(example, dict) else example.encode() for example in found["examples"]]
    return found["input"], each


if __name__ == "__main__":
    main()
