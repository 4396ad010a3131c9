"""What raydl needs of Ray that is not public, in one place."""

from typing import Any

import ray


def this_node() -> Any:
    """The node of this process, as Ray has it; None of a client, or before ``ray.init``.

    Ray says nowhere else which processes it started, or whether this one is the cluster's head.
    """
    return ray._private.worker._global_node
