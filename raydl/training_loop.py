"""The training loop of a run in one process: rounds, and all that is done between them."""

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch
from torch import nn

from raydl.config.dials import heading
from raydl.config.run import Run
from raydl.core import tree
from raydl.core.environment.extras import check_plots, has_plots
from raydl.core.environment.stages import enter
from raydl.core.errors import SpecError
from raydl.core.module import complete, frozen_parameters
from raydl.core.tree import Params
from raydl.data.participations.selector import counted
from raydl.drawing import as_png
from raydl.round import Round, rounds
from raydl.run_folder import checkpoint
from raydl.run_folder.model import Which, load_from, read_parameters, remake
from raydl.run_folder.patience import out_of_patience
from raydl.run_folder.record import Record, Row, read_rows, score_columns, table_of
from raydl.run_folder.results.outcome import headline, outcome
from raydl.run_folder.results.pictures import CURVES, PREDICTIONS, draw_predictions
from raydl.run_folder.results.wording import Measure
from raydl.run_folder.resumption import run_yaml
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortRuntime, RuntimeState, ServerRuntime
from raydl.runtimes.worker.evaluation import Score
from raydl.signals import Interrupted, Stop
from raydl.storage import Folder, find_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(NamedTuple):
    """What a run did.

    Attributes:
        table: a row for each round; the columns are those of
            `raydl.run_folder.record.COLUMNS`, and the metrics of each split.
        summary: the last row's totals, the final metrics and the parameters' fingerprint.
        path: path of the run's folder.
        params: the final parameters and buffers, all of the model's ``state_dict``.
        make: makes the model anew, with its first parameters.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    path: str
    params: Params
    make: Callable[[], nn.Module] | None = None

    def model(self, which: Which = "last") -> nn.Module:
        """The model with its parameters and buffers, as `raydl.load` has it.

        Args:
            which: the last parameters, or those that did best in validation.

        Raises:
            SpecError: if the run's folder holds no sound checkpoint of them.
        """
        folder = Folder(self.path)
        if self.make is None:
            return load_from(folder, which)
        return remake(self.make, read_parameters(folder, which))

    @classmethod
    def load(cls, run: str, storage: str | None = None) -> "History":
        """The history of a run that has ended, from its folder.

        Args:
            run: path or URI of the run's folder, or its name in the storage.
            storage: path or URI of the folder that holds the run's; ``runs`` by default.

        Raises:
            SpecError: if there is no such run, or it has not ended.
        """
        folder = find_folder("run", str(run), storage, "run.yaml")
        saved = checkpoint.newest(folder)
        if not folder.has("summary.json") or saved is None:
            raise SpecError(f"the run in {folder.uri} has not ended; raydl.run(..., resume=True)")
        summary = json.loads(folder.read("summary.json"))
        return cls(table_of(read_rows(folder)), summary, folder.uri, saved.model.state)

    def plot(self) -> "Figure":
        """The curves of the metric and of the losses over the rounds; a notebook shows them.

        Raises:
            SpecError: if the packages of the extra ``plots`` are missing.
        """
        check_plots("History.plot")
        from raydl.run_folder.results.curves import plot_run

        name = self.path.rpartition("/")[2].partition("?")[0]
        return plot_run(self.table, Measure.from_summary(self.summary), name)

    def __repr__(self) -> str:
        return f"History of {self.path}: {headline(self.summary)}"

    def _repr_html_(self) -> str:
        """The outcome as a table, for notebooks."""
        cell = '<td style="text-align: left">{}</td>'
        rows = {"run": self.path} | outcome(self.summary)
        lines = "".join(
            f"<tr>{cell.format(escape(name))}{cell.format(escape(text))}</tr>"
            for name, text in rows.items()
        )
        return f"<table>{lines}</table>"


class TrainingLoop:
    """The rounds of one run, with everything that is done between them.

    Of several processes that do the run together, the leader writes it down.
    """

    def __init__(
        self,
        run: Run,
        problem: Problem,
        runtime: CohortRuntime | ServerRuntime,
        folder: Folder,
        on_round: Callable[[Row], None],
    ) -> None:
        self._run, self._problem, self._runtime = run, problem, runtime
        self._folder, self._on_round = folder, on_round
        self._measure = Measure.of(problem.task.spec)
        self._pending: Callable[[], Row] | None = None
        self._refusal: Exception | None = None  # of who is told of the rounds

    def run(self, params: Params, stop: Stop) -> History:
        """Runs the loop, from the newest checkpoint in the run's folder if there is one.

        Args:
            params: the first ones of a new run.
            stop: whether the run was asked to stop.

        Raises:
            SpecError: if the model's frozen parameters are not those that the run began with.
            Interrupted: after the round in which the run was asked to stop.
        """
        start, state, selection = self._begin(params)
        if self._runtime.is_leader:
            self._folder.write("run.yaml", run_yaml(self._run, self._problem.dataset).encode())
            if self._folder.has("summary.json"):
                self._folder.remove("summary.json")  # of a finished run that now goes on
        samples = len(self._problem.dataset.train.targets)
        task, leads = self._problem.task, self._runtime.is_leader
        self._record = Record(self._folder, task, samples, start, writes=leads)
        self._best = checkpoint.Best(self._folder, self._record.rows, task.spec)
        return self._train(start, state, selection, stop)

    def _begin(self, params: Params) -> tuple[int, tree.Tree, tree.Tree | None]:
        """The rounds that are done, and the states of server and selector after them.

        The runtime takes up its own; the checkpoint itself, with what all clients keep, is held no
        longer than that.
        """
        saved = checkpoint.newest(self._folder)
        start, state, selection = 0, self._problem.algorithm.init(params), None
        if saved:
            self._check_frozen(saved)
            start, state, selection = saved.round, saved.state, saved.selection
        enter(f"round {start + 1}")
        self._runtime.restore(saved.runtime if saved else RuntimeState())
        return start, state, selection

    def _train(
        self, start: int, state: tree.Tree, selection: tree.Tree | None, stop: Stop
    ) -> History:
        """The rounds after ``start``."""
        run, sizes = self._run, self._problem.partition.sizes
        selector = counted(run.selector(sizes), len(sizes))
        samples = len(self._problem.dataset.train.targets)
        seen = int(self._record.rows[-1]["samples"]) if start else 0
        endless = rounds(
            self._problem.algorithm,
            self._runtime,
            state,
            selector,
            start,
            run.on_nonfinite,
            selection,
        )
        over = run.over(start, seen / samples) or self._out_of_patience()
        while not over:
            done = next(endless)
            if self._pending:
                self._tell(self._take_pending())
            before, seen, state = seen, seen + done.samples, done.state
            passed = done.number, before / samples, seen / samples
            over = run.over(done.number, seen / samples)
            signal = self._runtime.all_reduce_max(stop.signal)
            due = over or run.due(run.evaluation.every, 1, *passed)
            self._pending = self._score(done, due=due)
            row: Row | None = None
            if due and run.stop.patience is not None:  # whether it goes on hangs on the score
                row = self._take_pending()
                over = over or self._out_of_patience()
            ends = over or signal or self._refusal
            if ends or run.due(run.checkpoint.every, 10, *passed):
                row = row or self._take_pending()
                self._save(done)
            if row:
                self._tell(row)
            if signal or self._refusal:
                self._draw()
            if self._refusal:
                raise self._refusal
            if signal:
                raise Interrupted(signal, self._folder.uri, done.number)
        return self._summarize(state)

    def _out_of_patience(self) -> bool:
        return out_of_patience(self._record.rows, self._measure, self._run.stop.patience)

    def _score(self, done: Round, *, due: bool) -> Callable[[], Row]:
        """Starts to score a round, beside the next one; what is returned waits for its row."""
        params = self._problem.algorithm.params(done.state)
        splits = {"val": "validation"} if due else {}
        splits |= {"test": "test"} if due and self._run.evaluation.test == "each" else {}
        scores = {name: self._runtime.evaluate(params, split) for name, split in splits.items()}

        def row() -> Row:
            added = self._record.add(done, {name: wait() for name, wait in scores.items()})
            self._best.offer(added, params)
            return added

        return row

    def _take_pending(self) -> Row:
        assert self._pending is not None
        row, self._pending = self._pending(), None
        return row

    def _tell(self, row: Row) -> None:
        """Tells of a round; an error that this raises ends the run when it is written down."""
        if self._refusal is None:
            try:
                self._on_round(row)
            except Exception as error:  # noqa: BLE001  # is raised when the round is written down
                self._refusal = error
        self._runtime.report(str(self._run.name), row)

    def _save(self, done: Round) -> None:
        self._record.write()  # first, so that there is a row for every round of a checkpoint
        runtime = self._runtime.state()
        if self._runtime.is_leader:
            model = self._problem.task.model
            whole = complete(model, self._problem.algorithm.params(done.state))
            saved = checkpoint.Checkpoint(done.number, done.state, runtime, whole, done.selection)
            self._best.write(model)
            checkpoint.save(self._folder, saved, self._run.checkpoint.keep)

    def _summarize(self, state: tree.Tree) -> History:
        params = self._problem.algorithm.params(state)
        last = self._record.rows[-1]
        if self._run.evaluation.test != "never":
            enter("scoring the test set")
        scores = self._test(params)
        test = score_columns(self._problem.task.spec, scores)
        last |= test
        summary = {
            "fingerprint": tree.fingerprint(params),
            "rounds": last["round"],
            **{name: each for name, each in last.items() if name not in ("round", "clients")},
            "parameters": sum(leaf.numel() for _, leaf in tree.leaves(params)),
            **self._best_scores(test),
            "stopped_early": self._out_of_patience(),
            **self._measure.summary(),
        }
        self._record.summarize(summary)
        self._draw(scores)
        whole = complete(self._problem.task.model, params).state
        return History(table_of(self._record.rows), summary, self._folder.uri, whole)

    def _draw(self, scores: Mapping[str, Score] = {}) -> None:  # never written to
        """Draws the curves so far, and what there is to see of scores, where that can be done."""
        if not (self._runtime.is_leader and has_plots()):
            return
        from raydl.run_folder.results.curves import plot_run

        enter("drawing the curves")
        about = heading(self._run, self._problem.dataset.name)
        curves = plot_run(table_of(self._record.rows), self._measure, about)
        self._folder.write(CURVES, as_png(curves))
        for split, score in scores.items():
            task, title = self._problem.task.spec, f"{about}: {split}"
            draw_predictions(self._folder, PREDICTIONS, task, score, title)

    def _check_frozen(self, saved: checkpoint.Checkpoint) -> None:
        """Raises a SpecError if the model's frozen parameters are not those of the run so far."""
        for name, each in frozen_parameters(self._problem.task.model).items():
            if not torch.equal(saved.model.state.get(name, each).to(each.device), each):
                raise SpecError(
                    f"the model's frozen parameter {name} is not what the run began with; what "
                    "makes the model must give the same frozen parameters each time"
                )

    def _best_scores(self, last: Row) -> Row:
        """What the parameters score that did best in validation; ``last`` are the last ones'."""
        row, params = self._best.row, self._best.params
        if row is None or params is None:
            return {}
        if row["round"] != self._record.rows[-1]["round"]:
            last = score_columns(self._problem.task.spec, self._test(params))
        scores = {name: row[name] for name in ("round", self._best.column)} | last
        return {f"best_{name}": value for name, value in scores.items()}

    def _test(self, params: Params) -> dict[str, Score]:
        """What parameters score on the test set; nothing if it is not to be looked at."""
        if self._run.evaluation.test == "never":
            return {}
        return {"test": self._runtime.evaluate(params, "test")()}
