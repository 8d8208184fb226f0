"""Serving a language model, in six rooms:

    core                sequences, scheduling, memory in blocks
    structured_output   JSON Schema to masks over tokens
    runners             one pass of the model over a scheduled step
    engine              the loop of these three, offline and for many callers at once
    simulation          workloads, a simulator, a load generator
    server              the OpenAI API over HTTP

`simulation` is built on `core` alone, `server` on the engine; the tests hold who may import whom.
"""
