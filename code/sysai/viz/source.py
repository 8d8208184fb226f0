"""Code that a chapter shows: taken from the package as it stands, never pasted."""

import inspect
import textwrap

from IPython.display import Markdown


def show_source(*objects: object) -> Markdown:
    """The source of functions and classes, one block of code each."""
    sources = [textwrap.dedent(inspect.getsource(each)).rstrip() for each in objects]
    return Markdown("\n".join(f"```python\n{source}\n```" for source in sources))
