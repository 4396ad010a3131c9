"""``python -m tuning`` is the command ``raydl study``."""

import sys

from raydl.cli.main import main

if __name__ == "__main__":
    main(["study", *(sys.argv[1:] or ["--help"])])
