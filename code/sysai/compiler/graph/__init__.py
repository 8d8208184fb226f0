"""Graphs of operators: taken from torch.export, printed, parsed, verified, interpreted."""
