"""A compiler for tensor programs: graphs of operators to fused loops, and these to C and Triton."""
