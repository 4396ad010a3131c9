"""Regression on a table: what homes cost, learned from agencies that keep their rows to themselves.

Each agency is a client; the file says whose a row is. The command line does the same:

    python examples/table.py
    raydl run --data Table --data.uri homes.csv --data.target price --data.owner agency \
              --partition Natural --runtime batched --rounds 40
"""

import numpy as np
import pandas as pd

import raydl
from raydl.algorithms import FedAvg
from raydl.data import Natural, Table


def homes(rows: int = 4000, agencies: int = 25) -> pd.DataFrame:
    """Homes of three cities, in hundreds of thousands; agencies differ in size."""
    draws = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "agency": draws.geometric(0.1, rows) % agencies,
            "rooms": draws.integers(1, 8, rows),
            "age": draws.uniform(0, 90, rows),
            "city": draws.choice(["Bonn", "Köln", "Ulm"], rows),
        }
    )
    base = table["city"].map({"Bonn": 1.0, "Köln": 1.6, "Ulm": 0.9})
    noise = draws.normal(0, 0.05, rows)
    return table.assign(price=base + 0.5 * table["rooms"] - 0.005 * table["age"] + noise)


if __name__ == "__main__":
    homes().to_csv("homes.csv", index=False)
    data = Table("homes.csv", target="price", owner="agency")
    algorithm = FedAvg(lr=0.1, batch_size=20, epochs=2)
    run = raydl.Run(algorithm, data, Natural(), runtime="batched", rounds=40)
    history = raydl.run(run)
    print(f"test rmse {history.summary['test_rmse']:.3f}, R² {history.summary['test_r2']:.3f}")
