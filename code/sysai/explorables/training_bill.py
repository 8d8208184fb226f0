"""Memory of one device in a training step of a model, with an optimizer, at a stage of ZeRO."""

from dataclasses import dataclass, replace

from sysai.explorables.controls import MODELS
from sysai.explorables.shapes import activations
from sysai.models.config import ModelConfig
from sysai.models.formulas.memory import MIXED_ADAM, PLAIN_ADAM, MemoryBill, Recipe
from sysai.models.formulas.parameter_count import parameters
from sysai.parallel.memory import state_memory


@dataclass(frozen=True)
class Trained:
    """A model with its number of parameters, and its shape where that is known."""

    name: str
    parameters: int
    config: ModelConfig | None = None


@dataclass(frozen=True)
class Training:
    """Bytes that an optimizer keeps for each parameter, and the format of activations."""

    recipe: Recipe
    precision: str


TRAINED = {
    "zero-7.5b": Trained("7.5B (ZeRO)", 7_500_000_000),  # arXiv 1910.02054 says its size alone
    **{key: Trained(config.name, parameters(config).total, config) for key, config in MODELS.items()},
}

OPTIMIZERS = {
    "mixed_adam": Training(MIXED_ADAM, "bf16"),
    "adam": Training(PLAIN_ADAM, "fp32"),
    "momentum": Training(Recipe("fp32 SGD with momentum", weights=4, gradients=4, optimizer=4), "fp32"),
}


def bill(model: str, optimizer: str, devices: int, stage: int, batch: int, sequence: int) -> MemoryBill:
    """Bytes that each device holds in a training step with `batch` sequences on each."""
    trained, training = TRAINED[model], OPTIMIZERS[optimizer]
    state = state_memory(trained.parameters, devices, stage, training.recipe)
    kept = activations(trained.config, batch, sequence, training.precision) if trained.config else 0
    return replace(state, activations=kept)
