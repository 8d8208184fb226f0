"""The interpreter against numpy, and what it refuses."""

from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import arrays_for, programs, sizes_of
from sysai.compiler.program.interpret import interpret


@settings(max_examples=300, deadline=None)
@given(programs(), st.data())
def test_random_programs_are_defined(function, data):
    sizes = data.draw(sizes_of(function))
    interpret(function, arrays_for(function, sizes))
