"""Every option that there is, with its meaning, in a file: to read it takes no import of torch.

``python -m raydl.config.inventory`` writes the file, ``options.json``, from the code. It is kept
with the code, so that an option comes, goes or changes only on purpose.

contents  what the file holds
describe  the same from the code, and what an own class adds to it
help      what ``raydl run --help`` prints of it
"""
