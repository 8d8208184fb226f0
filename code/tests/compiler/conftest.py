"""The compiler's own tests verify each tensor program that the pipeline makes."""

import os

os.environ.setdefault("SYSAI_VERIFY", "1")
