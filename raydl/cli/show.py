"""``raydl show``: finished runs side by side."""

import json
from typing import Any

from rich.console import Console

from raydl.cli.arguments import run_folder, take_option
from raydl.cli.tables import table
from raydl.config import options
from raydl.core.errors import SpecError
from raydl.run_folder.resumption import how_to_resume, read_settings


def main(argv: list[str]) -> int:
    """Prints what the runs came to, and in which settings they differ."""
    as_json = "--json" in argv
    storage, argv = take_option([each for each in argv if each != "--json"], "--storage")
    if not argv or argv[0].startswith("-"):
        raise SpecError("raydl show needs one run or more: raydl show RUN ... [--json]")
    runs = {}
    for named in argv:
        folder = run_folder(named, storage)
        if not folder.has("summary.json"):
            how = how_to_resume(folder, read_settings(folder))
            raise SpecError(f"run {named!r} is not finished; go on with it: {how}")
        summary = json.loads(folder.read("summary.json"))
        runs[named] = {"settings": options.flatten(read_settings(folder)), "summary": summary}
    if as_json:
        print(json.dumps(runs, indent=2))
        return 0
    differing = _differing({name: each["settings"] for name, each in runs.items()})
    console = Console()
    console.print(table({name: differing[name] | each["summary"] for name, each in runs.items()}))
    return 0


def _differing(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the runs' settings, those in which they differ, apart from where they are stored."""
    keys = dict.fromkeys(key for each in settings.values() for key in each)
    for key in ("name", "storage"):
        keys.pop(key, None)
    apart = [key for key in keys if len({str(each.get(key)) for each in settings.values()}) > 1]
    return {name: {key: each.get(key) for key in apart} for name, each in settings.items()}
