"""Code generation: what a machine, or its compiler, can read."""
