"""What the documentation only shows, and no test runs, names what exists: imports, commands, options, keys."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from celery.bin.celery import celery

from autocelery import Autocelery
from autocelery._cli.root import autocelery
from autocelery._doctor import suppressing
from autocelery._publish import stores
from autocelery._snapshot.rules import ShipRules
from autocelery._up import reading
from autocelery.presets.django import management
from tests.documentation import DOCS, PAGES, README, Block, commands_in, every_block_of

ROOT = DOCS.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
#: Modules of the projects that pages speak of.
PROJECTS = {
    "forecast",
    "hello",
    "make_celery",
    "mysite",
    "names",
    "noisy",
    "orders",
    "proj",
    "shop",
    "training",
}
COMMANDS = {"autocelery": autocelery, "celery": celery}

BLOCKS = [block for page in (README, *PAGES) for block in every_block_of(page)]


def blocks(*kinds: str) -> pytest.MarkDecorator:
    """Run the test for every block of these kinds."""
    chosen = [block for block in BLOCKS if block.kind in kinds]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


def python_in(block: Block) -> str:
    """Return the Python of a block: a session's without its outputs, a notebook's without its magics."""
    if block.kind == "pycon":
        return "".join(each.source for each in doctest.DocTestParser().get_examples(block.text))
    return re.sub(r"^%.*$", "", block.text, flags=re.M)


@blocks("python", "pycon")
def test_python_imports_what_is_there(block: Block) -> None:
    tree = ast.parse(python_in(block))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "auto":
            assert hasattr(Autocelery, node.attr) or node.attr == "app"
        if isinstance(node, ast.Import):
            for each in node.names:
                imported(each.name)
        if isinstance(node, ast.ImportFrom):
            assert node.module
            module = imported(node.module)
            missing = [each.name for each in node.names if module and not hasattr(module, each.name)]
            assert not missing


def imported(name: str) -> object | None:
    """Import a module; of a project's own nothing is known."""
    return None if name.partition(".")[0] in PROJECTS else importlib.import_module(name)


@blocks("console", "", "text")
def test_commands_are_those_that_there_are(block: Block) -> None:
    for words in commands_of(block):
        check(words)


def commands_of(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command: of a session's prompts, or of lines that begin with a command's name."""
    if block.kind == "console":
        lines = [command for command, _ in commands_in(block.text)]
    else:
        lines = [line for line in block.text.splitlines() if re.match(r"(auto)?celery -?[a-zA-Z]", line)]
        lines = [line for line in lines if "  " not in line.strip()]  # a drawing, or a table
    for line in lines:
        words = shlex.split(line, comments=True)
        ends = [number for number, word in enumerate(words) if re.fullmatch(r"[0-9]?>.*|\||&&", word)]
        yield words[: ends[0]] if ends else words


def check(words: list[str]) -> None:
    """Fail where a command, an option, an extra of ours is none."""
    if words[0] in COMMANDS:
        parse(COMMANDS[words[0]], words[0], words[1:])
    elif words[:2] == ["python", "manage.py"]:
        name = f"{management.__name__}.commands.{words[2]}"
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).Command().create_parser("manage.py", words[2]).parse_args(words[3:])
    elif words[:2] == ["pip", "install"]:
        for asked in re.findall(r"autocelery\[([^]]*)\]", " ".join(words)):
            assert set(asked.split(",")) <= EXTRAS.keys()
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(words[1:]) <= set(targets)


def parse(command: click.Command, name: str, words: list[str], above: click.Context | None = None) -> None:
    """Read a command line as the command does, and run nothing."""
    context = click.Context(command, parent=above, info_name=name, **command.context_settings)
    if above and above.find_root().command is autocelery and not isinstance(command, click.Group):
        command.parse_args(context, words)  # what is missing, too; a command of Celery's asks the app
        return
    _, rest, _ = command.make_parser(context).parse_args(list(words))
    if rest and isinstance(command, click.Group):
        name, below, words = command.resolve_command(context, rest)
        assert name
        assert below
        parse(below, name, words, context)


@blocks("toml")
def test_tables_have_keys_that_are_read(block: Block, tmp_path: Path) -> None:
    has_file = "[tool." not in block.text
    file = tmp_path / ("autocelery.toml" if has_file else "pyproject.toml")
    file.write_text(block.text)
    ShipRules.read(tmp_path)
    suppressing._of_table(tmp_path)
    if re.search(r"queues\]$", block.text, re.M):
        assert reading.queues_of(file)
    if re.search(r"up\]$", block.text, re.M):
        assert reading.plan_of(file).processes


@blocks("json")
def test_json_is_json(block: Block) -> None:
    text, decoder = block.text.strip(), json.JSONDecoder()
    while text:
        _, end = decoder.raw_decode(text)
        text = text[end:].strip()


@blocks("", "console")
def test_stores_have_addresses_that_are_understood(block: Block) -> None:
    for url in re.findall(r"AUTOCELERY_STORE=(\S+)", block.text):
        assert str(stores.address(url))
