"""Devices, counters and benchmarks that everything else uses."""
