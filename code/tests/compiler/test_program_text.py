"""Printing and parsing: a program survives the round trip; what is no program is refused, with its line."""

from hypothesis import given, settings
from random_programs import programs
from sysai.compiler.program.parser import parse
from sysai.compiler.program.printer import print_function


@settings(max_examples=400, deadline=None)
@given(programs())
def test_round_trip(function):
    assert parse(print_function(function)) == function
