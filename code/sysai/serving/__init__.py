"""Serving a language model. Each folder imports only those before it in this list (`simulation` only `core`):

core                sequences, scheduling, memory in blocks
structured_output   JSON Schema to masks over tokens
runners             one pass of the model over a scheduled step
engine              the loop of the three, offline and for many callers at once
simulation          workloads, a simulator, a load generator
server              the OpenAI API over HTTP
"""
