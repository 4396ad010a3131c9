"""The command ``raydl``.

main        from the words of the command line to what they ask for
commands    the table of the commands, and what they say of themselves
completion  in a shell
arguments   what commands make of the words that they are given
tables      what several commands print

Each command has a module of its own, which is imported when it is called: a function takes the
words after the command, prints what it has to say, and returns the exit code.
"""
