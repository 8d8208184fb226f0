"""`sysai serve`, with a tiny model in place of the real one, as a process of its own: for signals and for memory.

python tiny_server.py SECONDS-A-STEP [OPTIONS OF SERVE]
"""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tiny_server(*options: str, step_seconds: float = 0.0):
    """The process and its address; it is killed if it has not ended at the end of the block."""
    command = [sys.executable, __file__, str(step_seconds), "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.match(r"address +(http://\S+)/v1", line):
                break
        else:
            raise AssertionError(f"the server did not start: {lines}")
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))
    import torch
    from service import tiny_engine
    from sysai.cli import main
    from sysai.serving.server import lifecycle

    torch.set_num_threads(1)
    lifecycle.build_engine = lambda options: tiny_engine(float(sys.argv[1]), max_running=options.max_running)
    sys.exit(main(sys.argv[2:]))
