"""Runners execute a step of the scheduler over a model whose keys and values lie in blocks.

`model_runner` does it with torch on any device, with the attention of `attention_backends`; `compiled_runner` with
generated C on a CPU (`step_program`, `cpu_attention`, `quantized_linear`). Both read a step as `step_inputs` and keep
their memory in a `paged_cache`.
"""
