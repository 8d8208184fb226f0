"""The command `sysai`: exercises listed, started and checked, their faults shown; a model served and put under load."""

import argparse
import json
import random
import sys
from pathlib import Path

from sysai.core.language import LANGUAGES, Text, reader_language
from sysai.exercises.catalogue import Exercise, UnknownExercise, find_exercises, select
from sysai.exercises.faults import fault_sources
from sysai.exercises.report import FAILED, PASSED
from sysai.serving.server.arguments import add_arguments
from sysai.serving.simulation import load_generator

USAGE = 2  # an exit code, beside PASSED and FAILED

_WORDS = {
    "unknown": Text("There is no exercise {name!r}. There are:", "没有名为{name!r}的练习。现有的练习如下："),
    "started": Text("created: {path}", "已创建：{path}"),
    "kept": Text("exists, left as it is: {path}", "已存在，未改动：{path}"),
    "then": Text("Write your answer there, then: sysai check {id}", "把答案写在其中，然后运行：sysai check {id}"),
    "minutes": Text("{minutes} min", "{minutes}分钟"),
    "yes": Text("started", "已开始"),
    "no": Text("not started", "未开始"),
    "total": Text("{passed} of {total} passed.", "{total}题中通过{passed}题。"),
    "one_file": Text(
        "--file goes with the name of one exercise, e.g. sysai check 01/speed-limit --file mine.py",
        "--file要与一道练习的名字连用，例如：sysai check 01/speed-limit --file mine.py",
    ),
    "no_file": Text("cannot read {path}", "无法读取{path}"),
    "no_folder": Text("there is no folder for {path}: make it first", "{path}所在的文件夹不存在，请先创建"),
    "faults": Text(
        "{id} has no fault {name!r}. Its faults:",
        "{id}没有名为{name!r}的错误答案。现有的如下：",
    ),
    "one_exercise": Text(
        "name one exercise, e.g. sysai faults 01/speed-limit",
        "请指定一道练习，例如：sysai faults 01/speed-limit",
    ),
    "none_started": Text(
        "No exercise has been started. Begin with: sysai start", "还没有开始任何练习。请先运行：sysai start"
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 0 if all is well, 1 if an answer did not pass, 2 for wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")
    options = _parser().parse_args(arguments)
    if options.run in (_serve, load_generator.run):
        try:
            return options.run(options)
        except ModuleNotFoundError as error:
            if error.name not in ("fastapi", "httpx2", "prometheus_client", "uvicorn"):
                raise
            return _wrong_usage(f"{error.name} is not installed: pip install 'sysai[serve]'")
    try:
        options.language = options.language or reader_language()
    except ValueError as error:
        return _wrong_usage(str(error))
    try:
        exercises = select(options.which, find_exercises())
    except UnknownExercise as error:
        say = _say(options.language)
        return _wrong_usage("\n".join([say("unknown", name=error.name), *_table(error.known, options.language)]))
    return options.run(exercises, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sysai", description="System for Artificial Intelligence.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = "a chapter (01) or an exercise (01/speed-limit, 01/01, 1.1, speed-limit); all if none is named"
    for name, run, purpose in (
        ("exercises", _list, "list the exercises"),
        ("start", _start, "make answer.py from the starter, where there is none"),
        ("check", _check, "check answers"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("which", nargs="*", metavar="WHICH", help=names)
        command.add_argument(
            "--language", choices=LANGUAGES, help="of the messages (default: SYSAI_LANGUAGE, or yours)"
        )
        command.set_defaults(run=run)
    command.add_argument("--started", action="store_true", help="only those that have an answer")
    command.add_argument("--file", type=Path, metavar="PATH", help="check this file as the answer of one exercise")
    command.add_argument("--seed", type=int, metavar="N", help="of the random inputs (default: another each time)")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document, for machines")
    form.add_argument("--markdown", action="store_true", help="for the summary of a workflow")
    command.add_argument("--save", type=Path, metavar="PATH", help="write the JSON document to this file as well")
    purpose = "list the planted wrong answers of an exercise, or print one"
    command = commands.add_parser("faults", help=purpose, description=purpose)
    command.add_argument("which", nargs=1, metavar="EXERCISE", help="01/speed-limit, 01/01, 1.1 or speed-limit")
    command.add_argument("name", nargs="?", metavar="NAME", help="the one to print, as a whole file")
    command.add_argument("--language", choices=LANGUAGES, help="of the messages (default: SYSAI_LANGUAGE, or yours)")
    command.set_defaults(run=_faults)
    purpose = "serve a model through the OpenAI API"
    command = commands.add_parser("serve", help=purpose, description=purpose)
    add_arguments(command)
    command.set_defaults(run=_serve)
    purpose = "send a server of the OpenAI API the load of a published trace, and report latencies and throughput"
    command = commands.add_parser("load", help=purpose, description=purpose)
    load_generator.add_arguments(command)
    command.set_defaults(run=load_generator.run)
    return parser


def _list(exercises: list[Exercise], options: argparse.Namespace) -> int:
    print("\n".join(_table(exercises, options.language)))
    return PASSED


def _start(exercises: list[Exercise], options: argparse.Namespace) -> int:
    say = _say(options.language)
    for exercise in exercises:
        existed = exercise.answer.exists()
        if not existed:
            exercise.answer.write_bytes((exercise.folder / "starter.py").read_bytes())
        print(say("kept" if existed else "started", path=_shown(exercise.answer)))
    if len(exercises) == 1:
        print(say("then", id=exercises[0].id))
    return PASSED


def _check(exercises: list[Exercise], options: argparse.Namespace) -> int:
    from sysai.exercises.grader import Grader, not_started

    say = _say(options.language)
    if options.file and (len(options.which) != 1 or len(exercises) != 1):
        return _wrong_usage(say("one_file"))
    given = None
    if options.file:
        try:
            given = options.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return _wrong_usage(say("no_file", path=options.file))
    if options.save and not options.save.absolute().parent.is_dir():
        return _wrong_usage(say("no_folder", path=options.save))
    if options.started:
        exercises = [exercise for exercise in exercises if exercise.answer.exists()]
        if not exercises and not options.json:
            print(say("none_started"))
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    reports = []
    with Grader(exercises) as grader:
        for exercise in exercises:
            source = given if options.file else grader.answer(exercise)
            if source is None:
                report = not_started(exercise)
            else:
                report = grader.grade(exercise, source, seed, repeat=_command(exercise, options))
            reports.append(report)
            if options.markdown:
                print(report.markdown(options.language), flush=True)
            elif not options.json:
                print(report.text(options.language), flush=True)
    passed = sum(report.passed for report in reports)
    document = json.dumps([report.data() for report in reports], ensure_ascii=False, indent=1)
    if options.save:
        options.save.write_text(document + "\n", encoding="utf-8")
    if options.json:
        print(document)
    elif len(reports) > 1:
        print(say("total", passed=passed, total=len(reports)))
    return PASSED if passed == len(reports) else FAILED


def _faults(exercises: list[Exercise], options: argparse.Namespace) -> int:
    say = _say(options.language)
    if len(exercises) != 1:
        return _wrong_usage(say("one_exercise"))
    sources = fault_sources(exercises[0].folder)
    table = [f"{name:<{max(map(len, sources))}}  {fault.description}" for name, (fault, _) in sources.items()]
    if options.name is None:
        print("\n".join(table))
        return PASSED
    if options.name not in sources:
        return _wrong_usage("\n".join([say("faults", id=exercises[0].id, name=options.name), *table]))
    print(sources[options.name][1], end="")
    return PASSED


def _serve(options: argparse.Namespace) -> int:
    from sysai.serving.server.lifecycle import run

    return run(options)


def _command(exercise: Exercise, options: argparse.Namespace) -> str:
    return f"sysai check {exercise.id}" + (f" --file {options.file}" if options.file else "")


def _table(exercises: list[Exercise], language: str) -> list[str]:
    say = _say(language)
    width = max((len(exercise.id) for exercise in exercises), default=0)
    return [
        f"{exercise.number:<5} {exercise.id:<{width}}  {exercise.title[language]}"
        f" · {say('minutes', minutes=exercise.minutes)} · {say('yes' if exercise.answer.exists() else 'no')}"
        for exercise in exercises
    ]


def _shown(path: Path) -> Path:
    """Relative to where the user is, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _say(language: str):
    return lambda key, **values: _WORDS[key][language].format(**values)


def _wrong_usage(message: str) -> int:
    print(message, file=sys.stderr)
    return USAGE
