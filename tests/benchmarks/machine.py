"""What the figures were measured on."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil
import ray
import torch

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def brief() -> dict[str, Any]:
    """The processor, the memory, the versions, and how busy the machine was."""
    info = _cpuinfo()
    flags = info.get("flags", "").split()
    return {
        "cpu": info.get("model name", platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": ray.__version__,
        "load_before": os.getloadavg()[0],
    }


def summary(machine: dict[str, Any]) -> str:
    """The description in a line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{' '.join(machine['flags'])}; Python {machine['python']}, torch {machine['torch']}, "
        f"Ray {machine['ray']}; load before: {machine['load_before']:.2f}"
    )


def has_bf16(machine: dict[str, Any]) -> bool:
    """Whether the processor multiplies bfloat16 faster than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(machine["flags"]))


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
