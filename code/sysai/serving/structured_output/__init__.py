"""Constrained decoding: from a JSON Schema to the tokens that may come next.

`json_schema` makes an expression of a schema, `grammar` takes derivatives of expressions by bytes, `token_mask` goes
from bytes to a model's tokens.
"""
