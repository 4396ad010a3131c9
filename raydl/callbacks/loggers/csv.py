"""The rows of a run as ``metrics.csv``, beside the Parquet of the run's folder."""

from typing import TYPE_CHECKING

from raydl.callbacks.loggers.logger import Logger
from raydl.run_folder.record import Row, read_rows, table_of

if TYPE_CHECKING:
    from raydl.training_loop import History


class CSV(Logger):
    """The same table as ``metrics.parquet``, for what cannot read that."""

    def open(self) -> None:
        """Takes up the rows that there are already."""
        self._rows = read_rows(self.folder)

    def log(self, row: Row) -> None:
        """Adds a row, and forgets those that it is before."""
        while self._rows and self._rows[-1]["round"] >= row["round"]:
            self._rows.pop()
        self._rows.append(row)

    def flush(self) -> None:
        """Writes the file."""
        content = table_of(self._rows).to_csv(index=False)
        self.folder.write("metrics.csv", content.encode())

    def end(self, history: "History") -> None:
        """Takes the last row with its test scores."""
        last = history.table.iloc[-1].dropna()
        self._rows[-1] |= {str(name): value for name, value in last.items()}

    def close(self, error: BaseException | None = None) -> None:
        """Writes the file, if there is a row."""
        if self._rows:
            self.flush()
