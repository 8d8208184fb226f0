"""Workloads, and what service they get: simulated by a cost model, or measured on a server under load.

`workload` draws requests, `simulator` serves them on a clock that `cost_model` moves, `load_generator` sends them to a
server, and `latency` reports either run. `fragmentation` measures what ways to allocate memory lose of it.
"""
