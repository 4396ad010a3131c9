"""The commands, a module each, imported when it is called.

A function takes the words after the command, prints what it has to say, and returns the exit code.
"""
