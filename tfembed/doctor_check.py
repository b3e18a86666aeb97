"""Runs in a fresh process of `tfembed doctor`: imports what may be broken, and prints what the machine has, as JSON."""

import importlib
import json
import os
import platform
import shutil
import subprocess
import warnings
from typing import Any

IMPORTS = ("tensorflow", "tensorflow_text", "keras", "keras_hub", "keras_tuner", "tensorflow_hub")
DEFAULT_ENCODER = "minilm"
# What multiplies matrices quickly, of Intel, AMD and Arm.
_FEATURES = (
    "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve", "bf16",
)  # fmt: skip


def look() -> dict[str, Any]:
    """What there is, as JSON values."""
    found: dict[str, Any] = {"imports": {name: _try(name) for name in IMPORTS}, "cpu": _cpu(), "memory": _memory()}
    if found["imports"]["tensorflow"] is None:
        found |= {"devices": _devices(), "bfloat16": _bfloat16(), "xla": _xla()}
    if not any(found["imports"].values()):
        found["encoder"] = _encoder()
    return found


def _try(name: str) -> str | None:
    """Why a package cannot be imported; None if it can."""
    try:
        importlib.import_module(name)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _cpu() -> dict[str, Any]:
    import cpuinfo

    known = cpuinfo.get_cpu_info()
    flags = set(known.get("flags", ()))
    return {
        "name": known.get("brand_raw") or platform.machine(),
        "cores": os.cpu_count(),
        "features": [name for name in _FEATURES if name in flags],
    }


def _memory() -> int | None:
    """Bytes of the machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _devices() -> list[dict[str, Any]]:
    """The accelerators that TensorFlow sees, with what the driver says of their memory."""
    import tensorflow as tf

    memory = _driver_memory()
    found = []
    for i, device in enumerate(tf.config.list_physical_devices("GPU")):
        details = tf.config.experimental.get_device_details(device)
        capability = details.get("compute_capability")
        found.append(
            {
                "name": details.get("device_name") or device.name,
                "compute_capability": ".".join(map(str, capability)) if capability else None,
                "memory": memory[i]["total"] if i < len(memory) else None,
                "free": memory[i]["free"] if i < len(memory) else None,
            }
        )
    return found


def _driver_memory() -> list[dict[str, int]]:
    """Bytes of memory of NVIDIA's devices, in all and free, as their driver's own tool says."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    rows = [line.split(",") for line in run.stdout.splitlines() if line.count(",") == 1]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible and all(each.isdecimal() and int(each) < len(rows) for each in visible.split(",")):
        rows = [rows[int(each)] for each in visible.split(",")]
    return [{"total": int(total) * 2**20, "free": int(free) * 2**20} for total, free in rows]


def _bfloat16() -> bool | None:
    """Whether there is hardware for bfloat16; None where tfembed cannot tell."""
    try:
        from tfembed.encoders.compute import has_bfloat16

        return has_bfloat16()
    except Exception:  # an installation that is broken is what the doctor is asked about: the imports say so
        return None


def _xla() -> str | None:
    """Why XLA does not compile; None if it does."""
    import tensorflow as tf

    try:
        double = tf.function(lambda x: x + x, jit_compile=True)
        return None if float(double(tf.constant(2.0))) == 4.0 else "it computes wrong sums"
    except Exception as error:
        return " ".join(str(error).split())[:300]


def _encoder() -> dict[str, Any]:
    """The encoder that texts get by default: `dim`, None if it has yet to be downloaded; `error`, None if it works."""
    from tfembed.encoders.catalog import CATALOG
    from tfembed.encoders.keras_hub import is_local, is_preset
    from tfembed.encoders.loading import load_encoder

    preset = CATALOG[DEFAULT_ENCODER].handle.removeprefix("keras_hub:")
    dim = error = None
    try:
        if is_local(preset):
            dim = load_encoder(DEFAULT_ENCODER)(["a text"]).shape[1]
        elif not is_preset(preset):
            error = f"KerasHub has no preset {preset}"
    except Exception as failure:
        error = f"{type(failure).__name__}: {' '.join(str(failure).split())[:300]}"
    return {"name": DEFAULT_ENCODER, "dim": dim, "error": error}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(look()))
