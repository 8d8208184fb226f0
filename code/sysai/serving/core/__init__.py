"""Scheduling: which sequences run next, and in which blocks of memory. No tensors.

In the order of reading: `sampling_params`, `sequence`, `blocks`, `prefix_cache`, `kv_cache_manager`, `policies`,
`scheduler_output` (a step as data), `scheduler`. Standard library only: the simulator runs all of it in a reader's
browser.
"""
