"""The cell magic in a live kernel."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

RIGHT = "import math\narea = lambda width, height: width * height\ndiagonal = math.hypot\n"


@pytest.fixture(scope="module")
def run(checkout):
    """run(*cells) -> their outputs, in a kernel that imports the package from the tests' checkout."""

    def run(*cells: str) -> list[list]:
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in ("%load_ext sysai.exercises", *cells)]
        environment = os.environ | {"PYTHONPATH": str(checkout / "code"), "SYSAI_LANGUAGE": "en"}
        NotebookClient(notebook, timeout=120, allow_errors=True, kernel_name="python3").execute(env=environment)
        return [cell.outputs for cell in notebook.cells[1:]]

    return run


def reports(outputs: list) -> list[dict]:
    return [output.data for output in outputs if output.output_type == "display_data"]


def test_a_right_and_a_wrong_cell_are_reported_and_usable_in_the_notebook(run):
    wrong = "%%exercise 07/area --seed 5\n" + RIGHT.replace("width * height", "2 * (width + height)")
    right, faulty, used, chinese = run(
        "%%exercise 07/area\n" + RIGHT, wrong, "area(2, 3)", wrong.replace("5", "5 --language zh", 1)
    )
    (report,) = reports(right)
    assert "passed" in report["text/plain"]
    assert "passed" in report["text/html"]
    (report,) = reports(faulty)
    assert "That is the perimeter" in report["text/html"]
    assert "%%exercise 07/area --seed 5" in report["text/plain"]
    assert used[0].data["text/plain"] == "10"  # the cell that ran last
    (report,) = reports(chinese)
    assert 'lang="zh-Hans"' in report["text/html"]
    assert "这是周长" in report["text/html"]


def test_what_goes_wrong_in_a_cell_is_said_once_and_the_kernel_lives(run):
    outputs = run(
        "%%exercise 07/area\nimport no_such_package",
        "%%exercise 07/area\ndef area(:",
        "%%exercise 07/area\nwhile True: pass",
        "%%exercise 07/area\nprint('<b>loud</b>')\n" + RIGHT.replace("width * height", "1 // 0"),
        "%%exercise 07/unknown\nx = 1",
        "%%exercise\nx = 1",
        "1 + 1",
    )
    for cell, words in zip(
        outputs[:3], ("No module named 'no_such_package'", "SyntaxError", "still running after 4 s"), strict=True
    ):
        assert len(cell) == 1
        assert words in cell[0].data["text/plain"]
    (report,) = reports(outputs[3])
    assert "ZeroDivisionError" in report["text/plain"]
    assert "&lt;b&gt;loud" in report["text/html"]
    assert "07/area" in outputs[4][0].text
    assert "EXERCISE" in str(outputs[5])
    assert outputs[6][0].data["text/plain"] == "2"


def test_the_notebook_cannot_change_the_verdict(run):
    patched = """
import sysai.exercises.trial as trial, sysai.exercises.compare as compare
trial.Trial._hold = lambda *a, **k: None
compare.first_difference = lambda *a, **k: None
"""
    (_, cell) = run(patched, "%%exercise 07/area\narea = diagonal = lambda width, height: 1")
    (report,) = reports(cell)
    assert "not passed" in report["text/plain"]
