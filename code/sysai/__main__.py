"""``python -m sysai``: the same as the command ``sysai``."""

import sys

from sysai.cli import main

sys.exit(main())
