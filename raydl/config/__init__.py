"""A run as a user describes it, and what of that is written down.

run        Run, Model, Evaluation, Checkpointing: everything that a user configures
choices    what a field can name: one of our classes, or one that can be imported
given      what a user gives for such a field: a name, an object, a class, a function
options    from YAML and the command line to a Run, and back: it puts the next four together
names      the words of the command line that choose a class
renamed    what options and classes were called before
selection  which classes are chosen, and which settings are whose
parser     the types of options
serialize  values as run.yaml holds them
inventory  all options with their meanings, in a file, and the help that is made of it
"""
