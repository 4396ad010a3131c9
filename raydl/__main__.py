"""``python -m raydl`` is the command ``raydl``."""

from raydl.cli import main

main()
