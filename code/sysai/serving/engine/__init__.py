"""The loop that serves: scheduler, runner, sampler and detokenizer, for one caller at a time or for many.

`llm_engine` is the loop, `request` a prompt with its sequences; `sampler` chooses tokens, `detokenizer` makes text of
them, and `async_engine`
runs the loop in a thread for callers on an event loop, each with a `stream`.
"""
