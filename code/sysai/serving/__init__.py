"""Serving a language model: requests, memory in blocks, scheduling, sampling, and text that streams."""
