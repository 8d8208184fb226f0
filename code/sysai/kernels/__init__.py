"""Triton kernels, each with its wrapper and a reference in torch; what compilers make of them is reported.

A wrapper (`paged_attention.py`) checks shapes, chooses tiles and launches; the kernel itself stands in a file of the
same name in `triton/`. That folder is no package, as its files are not imported by name: `loading` imports each for
Triton's compiler or for its interpreter, when it is first called. So all modules here can be imported where Triton does
not exist.
"""
