import shutil

import pytest
from sysai.exercises.catalogue import UnknownExercise, chapters_folder, find_exercises, select


def test_exercises_have_number_id_title_and_minutes(chapters):
    first, second = find_exercises(chapters)
    assert (first.id, first.number, first.title["zh"], first.minutes) == ("07/area", "7.1", "面积", 5)
    assert (second.id, second.number, second.title["en"]) == ("07/running-mean", "7.2", "A running mean")
    assert first.answer == first.folder / "answer.py"


@pytest.mark.parametrize("name", ["07/area", "07/01", "7.1", "area"])
def test_an_exercise_has_several_names(chapters, name):
    assert [exercise.slug for exercise in select([name], find_exercises(chapters))] == ["area"]


def test_a_chapter_names_all_of_its_exercises_and_each_comes_once(chapters):
    known = find_exercises(chapters)
    assert select(["07"], known) == select(["7"], known) == select([], known) == known
    assert select(["area", "07", "7.1"], known) == known


@pytest.mark.parametrize("name", ["08", "07/03", "7.3", "are", "", "../07/area"])
def test_an_unknown_name_tells_what_there_is(chapters, name):
    with pytest.raises(UnknownExercise, match="07/area, 07/running-mean"):
        select([name], find_exercises(chapters))


def test_a_slug_of_two_chapters_must_be_told_apart(chapters):
    shutil.copytree(chapters / "07-shapes", chapters / "08-more")
    known = find_exercises(chapters)
    with pytest.raises(UnknownExercise, match="07/area, 08/area"):
        select(["area"], known)
    assert [exercise.number for exercise in select(["08/area"], known)] == ["8.1"]


def test_a_statement_without_front_matter_is_one_clear_line(chapters):
    exercise = find_exercises(chapters)[0]
    (exercise.folder / "statement.md").write_text("no front matter")
    with pytest.raises(ValueError, match="must begin with a front matter"):
        _ = exercise.title


def test_in_a_checkout_the_folder_itself_is_used():
    assert chapters_folder().name == "chapters"
    assert (chapters_folder().parent / "pyproject.toml").exists()
