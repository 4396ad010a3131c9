"""What options and classes were called before: who uses an old name is told the new one."""

from raydl.core.errors import SpecError

# Old dotted name -> new one, of a field or of all that is below it.
OPTIONS = {"runtime.dropout": "runtime.update_loss"}
CLASSES = {  # field -> old name of a class -> new one
    "algorithm.interval": {"Constant": "Fixed"},
    "data": {"Parquet": "Prepared"},
}


def check_option(name: str) -> None:
    """Raises a SpecError if an option, or a field that it is below, has another name now."""
    for old, new in OPTIONS.items():
        if f"{name}.".startswith(f"{old}."):
            raise SpecError(f"{name} is called {new}{name.removeprefix(old)} now; write that")


def check_class(field: str, name: str) -> None:
    """Raises a SpecError if what a field can name has another name now."""
    for old, new in CLASSES.get(field, {}).items():
        if old.lower() == name.lower():
            raise SpecError(f"{field} {old} is called {new} now; write that")
