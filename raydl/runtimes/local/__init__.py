"""One process without Ray: ``--runtime sequential`` and ``batched``.

spec     Sequential, Batched: as a user names them
runtime  LocalRuntime: blocks one after the other
"""
