"""What the commands of ``raydl`` do, a module each, imported when it is called.

Each takes its options as a list of words, prints what it has to say, and returns the exit code.
"""
