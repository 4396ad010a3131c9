"""What the commands of ``raydl`` do, a module each, imported when it is called.

Each takes its options as a list of words, prints what it has to say, and returns the exit code.
"""


def asks_for_help(argv: list[str]) -> bool:
    """Whether help is among the options."""
    return "--help" in argv or "-h" in argv
