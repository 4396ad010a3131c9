"""Workers around a server in shards: ``--runtime parameter_server``.

spec         ParameterServer: as a user names it
runtime      the driver's side
shard_group  the shards as the driver sees them, replaced if lost
shard        one of them, with its part of the server's state
layout       the parameters cut over the shards
worker       pulls from the shards, trains, and pushes to them
messages     what passes between them
sequencer    the order of the pushes
snapshots    the shards' snapshots
"""
