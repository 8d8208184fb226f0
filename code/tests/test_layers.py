"""The layers of the package: each imports only itself and those before it, and no imports go in a circle.

Imports inside functions and under TYPE_CHECKING count: they too say what a module knows of.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import sysai

FOLDER = Path(sysai.__file__).parent
LAYERS = (
    *("core", "recorded", "hardware", "models", "kernels", "autograd", "compiler", "quantization", "distributed"),
    *("parallel", "training", "serving", "offload", "rl", "viz", "explorables", "exercises", "cli", "__main__"),
)


# Within serving, what a folder may import besides itself.
SERVING = {
    "core": set(),
    "structured_output": set(),
    "runners": {"core"},
    "engine": {"core", "structured_output", "runners"},
    "simulation": {"core"},
    "server": {"core", "runners", "engine"},
}


def imports():
    """For each module, those of the package that it names in an import."""
    trees = {}
    for path in FOLDER.rglob("*.py"):
        parts = ("sysai", *path.relative_to(FOLDER).with_suffix("").parts)
        trees[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    graph = {}
    for module, tree in trees.items():
        named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                members = (f"{node.module}.{alias.name}" for alias in node.names)
                named |= {member if member in trees else node.module for member in members}
        graph[module] = named & trees.keys() - {module}
    return graph


def upward(graph):
    """The imports (importer, imported) of a later layer by an earlier one."""
    number = {name: i for i, name in enumerate(LAYERS)}
    layer = {module: number[module.split(".")[1]] for module in graph if module != "sysai"}
    return [(module, other) for module in layer for other in graph[module] if layer[other] > layer[module]]


def circle(graph):
    """Modules that import each other in turn, the first again as the last; None if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]


def test_each_layer_imports_only_those_before_it():
    graph = imports()
    assert upward(graph) == []
    graph["sysai.models.config"].add("sysai.serving.core.sequence")
    assert upward(graph) == [("sysai.models.config", "sysai.serving.core.sequence")]


def through_other_doors(graph):
    """The imports between folders of serving that SERVING does not allow."""
    folder = {module: module.split(".")[2] for module in graph if module.startswith("sysai.serving.")}
    return [
        (module, other)
        for module in folder
        for other in graph[module] & folder.keys()
        if folder[other] not in {folder[module], *SERVING[folder[module]]}
    ]


def test_the_folders_of_serving_import_only_what_they_may():
    graph = imports()
    assert through_other_doors(graph) == []
    graph["sysai.serving.core.scheduler"].add("sysai.serving.engine.llm_engine")
    assert through_other_doors(graph) == [("sysai.serving.core.scheduler", "sysai.serving.engine.llm_engine")]


def test_no_modules_import_each_other():
    graph = imports()
    assert circle(graph) is None
    assert "sysai.parallel.unit" in graph["sysai.parallel.fsdp"]
    graph["sysai.parallel.unit"].add("sysai.parallel.fsdp")
    assert set(circle(graph)) == {"sysai.parallel.unit", "sysai.parallel.fsdp"}
