"""``python -m raydl`` is the command ``raydl``."""

from raydl.cli.main import main

if __name__ == "__main__":
    main()
