"""What the embedded server bears: requests a second, and how long they take, against calls within one process.

    python benchmarks/serving_load.py [--seconds 3] [--turns 3] [--clients 1,8,32,128] [--soak 0] [--quick]

The models are the demo's: intents with MiniLM, and 8 x 8 digits with glyphs. Each request holds one example, drawn with
seed 0. "loop" calls the model for one example after the other in one process, the limit without batching; "batches of
32" calls it for full batches, the limit with batching. The server is a process of its own, and so are all the clients
together; everything shares the machine. Each client waits for its answer before it asks again. Loop and clients take
turns, since a machine is not always as fast: a ratio is of one turn, and the table has the median, the least and the
most of them. With batching, a batch holds up to 32 examples and waits up to 2 ms. --soak SECONDS asks for texts at 80 %
of what 32 clients reach over REST with batching for half a minute, and looks at the server's memory and at errors.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BATCHING = "max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } max_enqueued_batches { value: 64 }"
ENVIRONMENT = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
WORKERS = Path(__file__).parent / "workers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--clients", default="1,8,32,128")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shared", type=Path, help="not needed")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.turns, options.clients = 1.0, 1, "1,8"
    print("command:", " ".join(sys.argv))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = write_models(folder)
        (folder / "batching.txt").write_text(BATCHING)
        for model in examples:
            file = folder / f"{model}.json"
            file.write_text(json.dumps(examples[model]))
            table(folder, file, options)
            if options.soak and model == "intents":
                soak(folder, file, options.soak)


def table(folder: Path, file: Path, options: argparse.Namespace) -> None:
    """A row for each protocol and number of clients, with batching and without."""
    name = file.stem
    with Calls(folder / name, file) as calls:
        for size in (1, 32):
            calls.turn(size, options.seconds)  # warms up
        turns = [(calls.turn(1, options.seconds), calls.turn(32, options.seconds)) for _ in range(options.turns)]
        print(
            f"\n{name}: loop {spread([one['rate'] for one, _ in turns], 0)} a second, each "
            f"{spread([one['p50'] for one, _ in turns], 2)} ms; batches of 32 "
            f"{spread([full['rate'] for _, full in turns], 0)} a second"
        )
        print(
            f"{'':6} {'batching':8} {'clients':>7} {'a second':>8} {'of loop':>21} {'p50 ms':>8} {'p99 ms':>8} errors"
        )
        for batching in (False, True):
            with Served(folder, name, batching) as served:
                for protocol in ("rest", "grpc"):
                    for clients in map(int, options.clients.split(",")):
                        turns = [
                            (
                                calls.turn(1, options.seconds),
                                load(protocol, served.address(protocol), clients, options.seconds, 0, file),
                            )
                            for _ in range(options.turns)
                        ]
                        show(protocol, batching, clients, turns)


def show(
    protocol: str, batching: bool, clients: int, turns: Sequence[tuple[dict[str, float], dict[str, float]]]
) -> None:
    found = {name: statistics.median(asked[name] for _, asked in turns) for name in ("rate", "p50", "p99")}
    overhead = spread([asked["p50"] - call["p50"] for call, asked in turns], 2)
    print(
        f"{protocol:6} {'on' if batching else 'off':8} {clients:7} {found['rate']:8.0f} "
        f"{spread([asked['rate'] / call['rate'] for call, asked in turns], 2):>21} "
        f"{found['p50']:8.2f} {found['p99']:8.2f} {sum(asked['errors'] for _, asked in turns):6}"
        + (f"  overhead {overhead} ms" if clients == 1 and not batching else ""),
        flush=True,
    )


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and least and most."""
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def soak(folder: Path, file: Path, seconds: float) -> None:
    """Ask at a fixed rate for a long time, and follow the server's memory."""
    with Served(folder, "intents", True) as served:
        # longer than a turn: a machine may do for a few seconds what it does not do for minutes
        rate = 0.8 * load("rest", served.address("rest"), 32, min(30.0, seconds / 2), 0, file)["rate"]
        command = load_command("rest", served.address("rest"), 32, seconds, rate, file)
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


def load(*arguments: Any) -> dict[str, float]:
    run = subprocess.run(load_command(*arguments), stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT)
    return json.loads(run.stdout.splitlines()[-1])


def load_command(*arguments: Any) -> list[str]:
    return [sys.executable, str(WORKERS / "serving_clients.py"), *map(str, arguments)]


class Calls:
    """The model called in a process of its own, whenever it is asked to."""

    def __init__(self, base: Path, file: Path) -> None:
        command = [sys.executable, str(WORKERS / "serving_calls.py"), str(base), str(file)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT)

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def turn(self, size: int, seconds: float) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{size} {seconds}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


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
    import numpy as np
    import tensorflow as tf

    import tfembed as te

    keras.utils.set_random_seed(0)
    texts = te.load_text(te.resource_path("intents"), label="intent")
    model = te.build_text_classifier(te.load_encoder("minilm"), texts.class_names)
    te.train(model, texts.few_shot(10), te.linear_probe())
    te.export(model, folder / "intents")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    digits = te.build_image_classifier(te.load_encoder("glyphs"), list("0123456789"))
    te.export(digits, folder / "digits", examples=pixels)
    encoded = [base64.b64encode(tf.io.encode_png(each).numpy()).decode() for each in pixels]
    return {
        "intents": {"input": "text", "examples": [str(text) for text in texts.test.examples]},
        "digits": {"input": "image_bytes", "examples": [{"b64": each} for each in encoded]},
    }


if __name__ == "__main__":
    main()
