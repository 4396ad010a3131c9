"""Availability by a trace: intervals in which devices are there, as a file holds them.

Such as were recorded of phones: C. Yang et al., "Characterizing Impacts of Heterogeneity in
Federated Learning upon Large-Scale Smartphone Data", WWW 2021; F. Lai et al., "FedScale:
Benchmarking Model and System Performance of Federated Learning at Scale", ICML 2022.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError, require
from raydl.data.participations.availability import Availability, Presence
from raydl.data.sources.table_files import check_columns, list_files

_COLUMNS = ("device", "begin", "end")
_SHORTEST = 1e-3  # seconds


@dataclass(frozen=True)
class Intervals(Availability):
    """Of the clients that are there, some; a trace of devices says who is there.

    Client k is where the k-th device is, in the order of their numbers; where there are more
    clients than devices, these begin anew. So does the trace, once it has ended.

    Args:
        uri: path or URI of a CSV or Parquet file, or of a folder of such, with columns of numbers:
            device, begin and end (seconds since the trace began).
    """

    uri: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.uri), "participation.uri", self.uri, "a file .csv or .parquet")

    def presence(self, clients: int, seed: int) -> Presence:
        """The intervals of the file.

        Raises:
            SpecError: if there is no such file, or if it holds anything else.
        """
        parts = []
        for file in list_files(self.uri, "participation.uri"):
            check_columns(file.schema(), _COLUMNS, file.field)
            parts.append(file.read(_COLUMNS).to_numpy())
        try:
            rows = np.concatenate(parts).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise SpecError(
                f"participation.uri is {self.uri!r}, whose {', '.join(_COLUMNS)} are to be "
                f"numbers: {error}"
            ) from error
        require(len(rows) > 0, "participation.uri", self.uri, "a file with an interval or more")
        wrong = rows[(rows[:, 1] < 0) | (rows[:, 2] - rows[:, 1] < _SHORTEST)]
        if len(wrong):
            device, begin, end = wrong[0].tolist()
            raise SpecError(
                f"participation.uri is {self.uri!r}, where device {device:g} is there from "
                f"{begin:g} to {end:g} s; an interval begins at 0 or later, and ends a millisecond "
                "after that or more"
            )
        return Recorded(rows, clients)


class Recorded(Presence):
    """The presence of devices in intervals, which repeat once the last of them has ended.

    Args:
        rows: device, begin and end in seconds of each interval, float64 [intervals, 3].
        clients: number of clients.
    """

    def __init__(self, rows: npt.NDArray[np.float64], clients: int) -> None:
        devices, self._device = np.unique(rows[:, 0], return_inverse=True)
        self._begin, self._end = rows[:, 1], rows[:, 2]
        self._period = float(self._end.max())
        self._of_client = np.arange(clients) % len(devices)
        used = self._device <= self._of_client.max()
        self._begins = np.sort(self._begin[used])

    def there(self, second: float) -> npt.NDArray[np.bool_]:
        """Those of whose intervals one has begun and has not ended."""
        at = second % self._period
        present = np.zeros(int(self._device.max()) + 1, bool)
        present[self._device[(self._begin <= at) & (at < self._end)]] = True
        return present[self._of_client]

    def next_arrival(self, second: float) -> float:
        """When the next interval begins."""
        passed, at = divmod(second, self._period)
        later = self._begins[self._begins > at]
        return float(
            passed * self._period + (later[0] if len(later) else self._begins[0] + self._period)
        )
