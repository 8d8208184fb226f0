"""Random cases are the same at every run in CI, so that a change is judged by its own faults; elsewhere they are new."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")
