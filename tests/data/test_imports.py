import subprocess
import sys

PROGRAM = """
import sys
import raydl.data as data

heavy = {"matplotlib", "pandas", "pyarrow", "ray", "scipy", "seaborn", "sklearn", "torchvision"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
data.Digits().load()
assert not heavy & set(sys.modules), heavy & set(sys.modules)

import numpy as np
data.plot_partition(np.ones((10, 10), int), "title")
assert "matplotlib.pyplot" not in sys.modules

import random
import raydl
before = random.getstate()
raydl.run
assert random.getstate() == before
"""


def test_nothing_heavy_is_imported_before_it_is_needed():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
