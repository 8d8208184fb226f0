"""The run time: what a compiled graph is made of, and how a call goes through it."""
