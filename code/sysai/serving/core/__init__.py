"""What runs next, and in which memory: sequences, the scheduler, blocks of keys and values. No tensors.

In the order of reading: `request` (parameters and a sequence's life), `blocks`, `prefix_cache`, `kv_cache_manager`,
`policies`, `scheduler_output` (a step as data), `scheduler`. Standard library only: the simulator runs all of it in a
reader's browser.
"""
