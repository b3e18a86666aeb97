"""Two machines of a MultiWorkerMirroredStrategy: processes on this one, which find each other by TF_CONFIG."""

import json
import socket


def two_machines() -> list[str]:
    """What TF_CONFIG is on each."""
    cluster = {"worker": [f"localhost:{_free_port()}" for _ in range(2)]}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(2)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])
