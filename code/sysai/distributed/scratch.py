"""Where ranks meet: a folder whose files are memory."""

import os
import tempfile
from pathlib import Path

VARIABLE = "SYSAI_SCRATCH"


def new_scratch() -> Path:
    """Make a folder in memory: in the one that the variable SYSAI_SCRATCH names, else /dev/shm, else the temporary one.

    The launcher sets the variable for its ranks, and removes everything there after a rank was killed.
    """
    parent = os.environ.get(VARIABLE) or ("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix=f"sysai-{os.getpid()}-", dir=parent))
