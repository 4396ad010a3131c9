"""How much of mapped files the kernel can keep in memory."""

import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_SHARE = 0.5  # of memory that may be taken for the files; the rest is for those who train


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes of files can stay in memory: the machine's, or this container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return size <= _SHARE * min([machine, *_limits()])


def _limits() -> list[int]:
    """What the control groups allow that this process is in, bytes."""
    of_process = Path("/proc/self/cgroup")
    lines = of_process.read_text().splitlines() if of_process.exists() else []
    own = [_GROUPS / line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    files = [group / "memory.max" for each in own for group in (each, *each.parents)]
    allowed = [file.read_text().strip() for file in files if file.exists()]
    return [int(each) for each in allowed if each != "max"]
