"""What one process does, in the driver as in an actor.

worker      Worker: trains blocks of clients, and scores stretches of a split
block       one block of clients, trained and reduced: eagerly, or as one vmap
evaluation  scoring a split in stretches whose sums add up
batchable   whether many clients can train as one vmap
memory      freed memory, kept for the next step
process     what a worker changes in a caller's process, and puts back
"""
