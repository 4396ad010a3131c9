"""The command ``raydl``.

main        from the words of the command line to what they ask for
usage       the table of the commands, and what they say of themselves
commands    a module for each
completion  in a shell
arguments   what commands make of the words that they are given
tables      what several commands print
"""
