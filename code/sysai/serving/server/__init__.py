"""An OpenAI-compatible HTTP server over the asynchronous engine: `sysai serve`.

A request passes, from the outside in: `connections` (how many, how slow), `auth`, `body` (how large, how slow), the
routes of `app` with the forms of `protocol`, `admission` (text to tokens, context length, queue), the engine; and its
chunks come back through `replies` and `streaming`. `metrics` watches, `lifecycle` starts and ends it all.
"""
