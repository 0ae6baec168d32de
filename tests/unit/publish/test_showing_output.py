"""Output as somebody sees it: lines stay whole, and say whose they are where they have to."""

from __future__ import annotations

import pytest

from autocelery._publish.progress import Progress, progress_of
from autocelery._publish.reading import Output
from autocelery._publish.showing import Printer


def said(task_id: str, text: str, stream: str = "stdout") -> Output:
    return Output(task_id, stream, text)  # type: ignore[arg-type]


def test_one_calls_output_is_written_as_it_came_each_stream_to_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = Printer()
    for each in (
        said("a", "wor"),
        said("a", "king\n"),
        said("a", "\r 50%", "stderr"),
        said("a", "\r100%\n", "stderr"),
    ):
        printer.show(each)
    assert capsys.readouterr() == ("working\n", "\r 50%\r100%\n")


def test_a_log_record_has_its_level_and_logger_and_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = Printer(out="stderr")
    printer.show(said("a", "no end"))
    printer.show(Output("a", "log", "careful\n", "WARNING", "shop.tasks"))
    printer.show(said("a", "and no end"))
    printer.close()
    assert capsys.readouterr().err == "no end\nWARNING shop.tasks: careful\nand no end\n"


def test_lines_of_several_calls_stay_whole_and_are_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    printer.show(said("a", "one, "), "[add a]")
    printer.show(said("b", "three\nfo"), "[add b]")
    printer.show(said("a", "two\n"), "[add a]")
    printer.end("b", "[add b]")
    assert capsys.readouterr().out == "[add b] three\n[add a] one, two\n[add b] fo\n"


def test_of_several_progress_bars_in_a_file_only_the_last_state_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = Printer()
    for done in range(4):
        printer.show(said("a", f"\r{done}/3", "stderr"), "[add a]")
    printer.show(said("a", "\n", "stderr"), "[add a]")
    assert capsys.readouterr().err == "[add a] 3/3\n"


@pytest.mark.parametrize(
    ("meta", "progress"),
    [
        ({"status": "PROGRESS", "result": {"done": 3, "total": 12}}, Progress(3, 12)),
        (
            {"status": "PROGRESS", "result": {"current": 3, "total": 12, "status": "sorting"}},
            Progress(3, 12, "sorting"),
        ),
        ({"status": "PROGRESS", "result": {"done": 0.5, "total": None}}, Progress(0.5, None)),
        ({"status": "PROGRESS", "result": {"done": "some"}}, None),
        ({"status": "PROGRESS", "result": 3}, None),
        ({"status": "STARTED", "result": {"done": 3}}, None),
        ({}, None),
    ],
)
def test_progress_is_what_celerys_users_report(meta: dict[str, object], progress: Progress | None) -> None:
    assert progress_of(meta) == progress
