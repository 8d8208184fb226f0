"""``python -m sysai``: the same as the command ``sysai``."""

import sys

from sysai.cli import main

if __name__ == "__main__":
    sys.exit(main())
