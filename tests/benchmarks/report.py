"""The figures as tables."""

from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.machine import has_bf16, summary

_GIB = 2**30


def show(figures: dict[str, Any]) -> None:
    """Prints all that was measured."""
    console = Console()
    machine = figures["machine"]
    console.print(summary(machine))
    for part, measured in figures.items():
        if "contenders" in measured:
            console.print(_turns(part, measured))
            for line in _remarks(measured, has_bf16(machine)):
                console.print(line)
            if "ratios" in measured:
                console.print(_beside(measured["ratios"]))
        for named, table in (
            ("transport", _transport),
            ("virtual", _virtual),
            ("overhead", _overhead),
            ("halving", _halving),
            ("efficiency", _efficiency),
            ("driver", _driver),
            ("mapped", _mapped),
            ("gathered", _gathered),
            ("runtimes", _client_state),
            ("checkpoint", _checkpoint),
        ):
            if named in measured:
                console.print(table(measured))
    if "optimizers" in figures:
        console.print(_optimizers(figures["optimizers"]))
    if "W4" in figures:
        console.print(_scale(figures["W4"]))
    if "startup" in figures:
        console.print(_startup(figures["startup"]))


def _turns(part: str, measured: dict[str, Any]) -> Table:
    columns = ("", "cores", "precision", "ms a round", "fastest", "slowest", "× bare", "apart")
    table = _table(f"{part}: {measured['title']}", *columns)
    for row in measured["contenders"]:
        seconds = row["seconds"]
        table.add_row(
            row["name"],
            f"{row['processes']} × {row['threads']}",
            row["precision"],
            *(_milliseconds(each) for each in (row["median"], min(seconds), max(seconds))),
            f"{row['ratio']:.2f}",
            f"{row['apart']:.0e}",
            style="dim" if row["bare"] else "",
        )
    return table


def _remarks(measured: dict[str, Any], bf16_in_hardware: bool) -> list[str]:
    lines = []
    best = {
        (bare, precision): min(
            row["median"]
            for row in measured["contenders"]
            if (row["bare"], row["precision"]) == (bare, precision)
        )
        for bare, precision in {(row["bare"], row["precision"]) for row in measured["contenders"]}
    }
    if (False, "bf16") in best:
        hardware = "has" if bf16_in_hardware else "does not have"
        lines.append(
            f"bf16 / float32: raydl {best[False, 'bf16'] / best[False, 'float32']:.2f}, "
            f"bare {best[True, 'bf16'] / best[True, 'float32']:.2f}; "
            f"the processor {hardware} bfloat16 instructions."
        )
    if empty := measured.get("empty_round"):
        lines.append(
            f"A round of empty work: {_milliseconds(empty['median'])} ms "
            f"({empty['blocks']} blocks on 2 actors, {empty['bytes']} bytes each way), of them "
            f"{_milliseconds(empty['transport'])} ms of the driver and of transport; two calls of "
            f"Ray that do nothing: {_milliseconds(empty['ray'])} ms."
        )
    return lines


def _beside(ratios: dict[str, float]) -> str:
    each = ", ".join(f"{ratio:.3f} in {precision}" for precision, ratio in ratios.items())
    return f"raydl / bare, each on the threads that suit it best: {each}."


def _transport(measured: dict[str, Any]) -> Table:
    megabytes, copy = measured["bytes"] / 1e6, _milliseconds(measured["copy"])
    title = f"Push and pull of {megabytes:.0f} MB; a copy takes {copy} ms"
    table = _table(title, "shards", "copies", "ms", "fastest", "slowest", "of what copies allow")
    for row in measured["transport"]:
        each = (row["median"], min(row["seconds"]), max(row["seconds"]))
        share = f"{100 * row['of']:.0f} %"
        table.add_row(str(row["shards"]), str(row["copies"]), *map(_milliseconds, each), share)
    return table


def _virtual(measured: dict[str, Any]) -> Table:
    title = f"Virtual time: {measured['workers']:,} workers × {measured['steps']:,} steps"
    table = _table(title, "", "events", "seconds", "events a second", "virtual seconds")
    for row in measured["virtual"]:
        table.add_row(
            row["name"],
            f"{row['events']:,}",
            f"{row['seconds']:.1f}",
            f"{row['events_a_second']:,.0f}",
            f"{row['virtual_seconds']:.1f}",
        )
    return table


def _overhead(measured: dict[str, Any]) -> Table:
    title = f"{measured['trials']} runs, {measured['at_once']} at a time, after start-up"
    table = _table(f"{title}: {measured['ratio']:.2f} × bare", "", "seconds", "fastest", "slowest")
    for row in measured["overhead"]:
        each = (median(row["seconds"]), min(row["seconds"]), max(row["seconds"]))
        table.add_row(row["name"], *(f"{seconds:.1f}" for seconds in each))
    return table


def _halving(measured: dict[str, Any]) -> Table:
    title = f"{measured['configurations']} settings, {measured['epochs']:g} epochs; "
    title += f"the best of the grid: {100 * measured['best']:.2f} % in validation"
    table = _table(title, "ASHA, seed", "of the grid's local steps", "points missed")
    for row in measured["halving"]:
        share, missed = f"{100 * row['share']:.1f} %", f"{100 * row['missed']:.2f}"
        table.add_row(str(row["seed"]), share, missed)
    return table


def _efficiency(measured: dict[str, Any]) -> Table:
    title = f"Rounds of {measured['blocks']} blocks of {measured['sleep']:g} s on each node"
    table = _table(title, "nodes", "seconds", "fastest", "slowest", "efficiency")
    for row in measured["efficiency"]:
        each = (row["median"], min(row["seconds"]), max(row["seconds"]))
        share = f"{100 * row['ratio']:.1f} %"
        table.add_row(str(row["nodes"]), *(f"{seconds:.3f}" for seconds in each), share)
    return table


def _driver(measured: dict[str, Any]) -> Table:
    title = f"A block of {measured['bytes'] / 1e6:.1f} MB, {measured['blocks']} a round"
    columns = ("fan_in", "ms, thread", "ms, process", "ms, round", "workers that it feeds")
    table = _table(title, *columns)
    for row in measured["driver"]:
        each = (_milliseconds(row[name]) for name in ("thread", "cpu", "wall"))
        table.add_row(str(row["fan_in"]), *each, f"{row['feeds']:,}")
    return table


def _mapped(measured: dict[str, Any]) -> Table:
    columns = ("", "cores", "ms a round", "fastest", "slowest", "× tensors")
    table = _table(f"Samples in mapped files: {measured['title']}", *columns)
    for row in measured["mapped"]:
        each = (row["median"], min(row["seconds"]), max(row["seconds"]))
        cores = f"{row['processes']} × {row['threads']}"
        table.add_row(row["name"], cores, *map(_milliseconds, each), f"{row['ratio']:.2f}")
    return table


def _gathered(measured: dict[str, Any]) -> Table:
    began, prepared, trained = (each / 1e6 for each in measured["anonymous"])
    title = (
        f"A minibatch of {measured['batch']} out of {measured['bytes'] / 1e9:.2g} GB; memory of its"
        f" own: {began:.0f} MB, {prepared:.0f} when prepared, {trained:.0f} when gathered"
    )
    table = _table(title, "from", "ms", "fastest", "slowest")
    for row in measured["gathered"]:
        each = (median(row["seconds"]), min(row["seconds"]), max(row["seconds"]))
        table.add_row(row["name"], *(f"{seconds * 1e3:.2f}" for seconds in each))
    return table


def _optimizers(measured: dict[str, Any]) -> Table:
    millions, threads = measured["parameters"] / 1e6, measured["threads"]
    title = f"Steps on ResNet-18, {millions:.1f} million parameters, {threads} threads"
    table = _table(title, "", "ms a step", "× torch's")
    for name, row in measured["optimizers"].items():
        table.add_row(name, _milliseconds(row["median"]), f"{row['ratio']:.2f}")
    return table


def _scale(measured: dict[str, Any]) -> Table:
    memory = measured["memory"]
    shown = [number for number in (1, 3, len(memory)) if number <= len(memory)]
    table = _table(
        f"W4: {measured['cohort']} clients a round",
        "registered",
        "ms a round",
        "×",
        *(f"GiB after round {number}" for number in shown),
    )
    few, many = (median(measured[name]) for name in ("seconds_cohort_only", "seconds"))
    table.add_row(f"{measured['cohort']:,}", _milliseconds(few), "1.00")
    table.add_row(
        f"{measured['registered']:,}",
        _milliseconds(many),
        f"{measured['ratio']:.2f}",
        *(f"{memory[number - 1] / _GIB:.2f}" for number in shown),
    )
    return table


def _client_state(measured: dict[str, Any]) -> Table:
    title = f"W5: SCAFFOLD, {measured['cohort']:,} of {measured['registered']:,} clients a round"
    table = _table(
        title, "", "ms a round", "FedAvg's", "× FedAvg", "× from the first fifth to last"
    )
    for row in measured["runtimes"]:
        each = (median(row["seconds"]), median(row["stateless"]))
        ratios = (f"{row[name]:.2f}" for name in ("ratio", "growth"))
        table.add_row(row["name"], *map(_milliseconds, each), *ratios)
    return table


def _checkpoint(measured: dict[str, Any]) -> str:
    kept = measured["checkpoint"]
    return (
        f"Of all clients' {kept['bytes'] / 1e6:.0f} MB a checkpoint takes {kept['write']:.2f} s "
        f"({kept['raw']:.2f} s to write as many bytes alone) and {kept['memory'] / 1e6:.0f} MB of "
        f"memory more; {kept['read']:.2f} s to read it, {kept['restore']:.2f} s to take it up."
    )


def _startup(measured: dict[str, Any]) -> Table:
    table = _table("Start-up", "", "seconds")
    table.add_row("raydl --help", f"{measured['help']['median']:.2f}")
    table.add_row("raydl run, to its first round", f"{measured['first_round']['median']:.2f}")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
