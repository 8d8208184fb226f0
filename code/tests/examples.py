"""How many random examples a test tries: few enough for every run, many for `--hypothesis-profile=thorough`.

The default profile draws the same examples in every run, so that what passes here passes elsewhere; `thorough` draws
others each time, twenty times as many. HYPOTHESIS_PROFILE names a profile as well.
"""

import os

from hypothesis import settings

settings.register_profile("same", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def examples(number: int, **others: object) -> settings:
    """Settings for a test that tries `number` examples in the default profile; others are those of hypothesis."""
    return settings(max_examples=-(-number * settings.default.max_examples // 100), **others)
