"""A pool of Ray actors: ``--runtime actors``.

spec     Actors: as a user names it
runtime  ActorRuntime: cohorts cut into blocks for whichever actor is free
actor    the actor
"""
