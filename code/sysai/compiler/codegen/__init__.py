"""Code generation: C for the CPU, Triton for GPUs."""
