"""Counters and latencies in Prometheus's text format, under TensorFlow Serving's names."""

import threading
from bisect import bisect_left
from collections import defaultdict

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
_LATENCY = tuple(10 * 1.8**i for i in range(32))  # microseconds, up to about 15 minutes
_SIZES = tuple(float(2**i) for i in range(15))

# From the name of a counter to the names of its labels; and of each histogram, with its buckets.
_COUNTERS = {
    ":tensorflow:serving:request_count": ("model_name", "status"),
    ":tensorflow:serving:request_example_count_total": ("model",),
    ":tensorflow:cc:saved_model:load_attempt_count": ("model_path", "status"),
}
_HISTOGRAMS = {
    ":tensorflow:serving:request_latency": (("model_name", "API", "entrypoint"), _LATENCY),
    ":tensorflow:serving:runtime_latency": (("model_name", "API", "runtime"), _LATENCY),
    ":tensorflow:serving:request_example_counts": (("model",), _SIZES),
    ":tensorflow:serving:batching_session:queuing_latency": ((), _LATENCY),
    ":tensorflow:serving:batching_session:processed_batch_size": ((), _SIZES),
}

Labels = tuple[str, ...]


class Metrics:
    """What a server has done so far. It may be told from many threads.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("intents", ("Predict", "GRPC"), "OK", 0.002)
        >>> print(metrics.text().splitlines()[1])
        :tensorflow:serving:request_count{model_name="intents",status="OK"} 1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, int]] = {name: defaultdict(int) for name in _COUNTERS}
        self._buckets: dict[str, dict[Labels, list[int]]] = {name: {} for name in _HISTOGRAMS}
        self._sums: dict[str, dict[Labels, float]] = {name: defaultdict(float) for name in _HISTOGRAMS}

    def request(self, model: str, call: tuple[str, str], status: str, seconds: float) -> None:
        """Count a request by the API and the entry point that it called."""
        self._count(":tensorflow:serving:request_count", (model, status))
        self._observe(":tensorflow:serving:request_latency", (model, *call), seconds * 1e6)

    def run(self, model: str, api: str, seconds: float, num_examples: int) -> None:
        """Count a run of the model for a request; of examples if there were any."""
        self._observe(":tensorflow:serving:runtime_latency", (model, api, "TF1"), seconds * 1e6)
        if num_examples:
            self._observe(":tensorflow:serving:request_example_counts", (model,), num_examples)
            self._count(":tensorflow:serving:request_example_count_total", (model,), num_examples)

    def load(self, folder: str, status: str) -> None:
        """Count an attempt to load a version."""
        self._count(":tensorflow:cc:saved_model:load_attempt_count", (folder, status))

    def batch(self, size: int, waits: list[float]) -> None:
        """Count a batch and the seconds that its requests waited."""
        self._observe(":tensorflow:serving:batching_session:processed_batch_size", (), size)
        for wait in waits:
            self._observe(":tensorflow:serving:batching_session:queuing_latency", (), wait * 1e6)

    def text(self) -> str:
        """Everything in Prometheus's text format."""
        lines: list[str] = []
        with self._lock:
            for name, counts in self._counts.items():
                lines += [f"# TYPE {name} counter"] if counts else []
                lines += [f"{name}{{{_labels(_COUNTERS[name], values)}}} {n}" for values, n in sorted(counts.items())]
            for name, by_labels in self._buckets.items():
                lines += [f"# TYPE {name} histogram"] if by_labels else []
                for values, buckets in sorted(by_labels.items()):
                    lines += self._histogram(name, values, buckets)
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str, values: Labels, buckets: list[int]) -> list[str]:
        names, limits = _HISTOGRAMS[name]
        labels, lines, total = _labels(names, values), [], 0
        for limit, count in zip([*(f"{limit:g}" for limit in limits), "+Inf"], buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{{labels}{"," if labels else ""}le="{limit}"}} {total}')
        return [
            *lines,
            f"{name}_sum{{{labels}}} {self._sums[name][values]:g}",
            f"{name}_count{{{labels}}} {total}",
        ]

    def _count(self, name: str, labels: Labels, by: int = 1) -> None:
        with self._lock:
            self._counts[name][labels] += by

    def _observe(self, name: str, labels: Labels, value: float) -> None:
        limits = _HISTOGRAMS[name][1]
        with self._lock:
            buckets = self._buckets[name].setdefault(labels, [0] * (len(limits) + 1))
            buckets[bisect_left(limits, value)] += 1
            self._sums[name][labels] += value


def _labels(names: tuple[str, ...], values: Labels) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
