"""Tensor programs: expressions, loops and blocks; printed, parsed, verified, interpreted."""
