"""``python -m tuning.sweep`` is the command ``raydl sweep``."""

import sys

from raydl.cli.main import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
