"""Figures with controls: each module holds one, drawn by the same function in a notebook and in the reader's browser.

Modules here and all that they import need nothing but the standard library, because Pyodide runs them.
"""
