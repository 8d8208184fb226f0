"""Faults that tests plant."""

from collections.abc import Container

from sysai.serving.engine.llm_engine import Engine


class PlantedError(Exception):
    """A fault that a test has planted."""


def crash(engine: Engine, numbers: Container[int]) -> None:
    """Let the runner fail in the steps of these numbers."""
    execute, steps = engine.runner.execute, []

    def failing(step):
        steps.append(step)
        if len(steps) in numbers:
            raise PlantedError("the device is gone")
        return execute(step)

    engine.runner.execute = failing
