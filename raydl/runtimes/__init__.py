"""Where an algorithm runs: each runtime runs any algorithm, with the same numbers.

runtime     Runtime, Reduced: the one method that every runtime has
problem     Problem: what is to be learned, and how a cohort is cut into blocks
batchable   whether many clients can train as one vmap
block       one block of clients, trained and folded: eagerly, or as one vmap
evaluation  scoring a split in stretches whose sums add up
worker      Worker: what one process needs for both
inprocess   InProcess: the runtime without Ray
shared      what processes share: the data of a node, and trees on the way
memory      freed memory, kept for the next step
pool        Pool: Ray actors kept busy, and replaced when they die
host        Host: one of these actors
actors      ActorPool: the runtime on them
allreduce   AllReduce: the runtime of workers without a server
ddp         the gradient of a minibatch that they share
train       a run that such workers take together, under Ray Train
mailbox     Mailbox: what they and the driver tell each other
collectives all-reduce on point-to-point messages: all to all, tree, ring
messages    what passes between a parameter server and its workers
sharding    Sharding: the parameters cut over the shards of a server
shard       Shard: one of them, with its part of the server's state
shards      Shards: all of them, as the driver sees them
sequencer   Sequencer: the order of the pushes
vault       Vault: the shards' snapshots
trainer     Trainer: a worker that pulls from the shards, and pushes to them
crew        Crew: workers with numbers of their own, replaced when they die
parameter_server  ShardedServer: the runtime on these
cluster     the Ray cluster that a run works on
probe       what a cluster says of itself
metrics     Metrics: a run's figures for Prometheus
specs       Sequential, Batched, Actors: the runtimes as a user names them
serving     ParameterServer: the sharded server likewise
simulated   Simulated, VirtualTime: workers under a virtual clock, synchronous or not
consistency Synchronous, Asynchronous, StaleSynchronous: when a server steps
conditions  Conditions: the workers' consistency, speed, network and luck
speed       Lognormal, Exponential, Measured: how long local steps take
trace       the order of arrivals that a run leaves behind
clock       Clock, Replay: whose update arrives when, drawn or read from a trace
timeline    Timeline: the clock that draws, event by event
auto        Auto: the one that is chosen by measuring
"""
