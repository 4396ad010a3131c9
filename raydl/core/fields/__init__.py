"""What fields of a spec may be.

kinds     what a type hint asks of a value, and how what was given is brought to it
patterns  parameters by their names
"""
