import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from raydl.runtimes.worker.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        several = [torch.ones(30 << 20, dtype=torch.uint8) for _ in range(4)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
{}
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_freed_memory_is_used_again_without_page_faults():
    def faults(call: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS.format(call)], capture_output=True, check=True
        )
        return int(done.stdout)

    assert faults("keep_freed_memory()") < 100  # mostly 300,000 without it


MAPS = """
import ctypes
import torch
from raydl.runtimes.worker.memory import give_back_freed, keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                 "uordblks", "fordblks", "keepcost")]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info

def mapped():
    before = mallinfo().hblks
    large = torch.ones(64 << 20, dtype=torch.uint8)
    return mallinfo().hblks - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

keep_freed_memory()
kept = mapped()
held = resident()
give_back_freed()
print(kept, held - resident(), mapped())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_what_was_kept_is_given_back():
    done = subprocess.run([sys.executable, "-c", MAPS], capture_output=True, check=True, text=True)
    while_kept, given_back, after = map(int, done.stdout.split())
    assert (while_kept, after) == (0, 1)  # large tensors are maps of their own again
    assert given_back >= 60  # MiB
