"""The same plan for those who have a supervisor."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from autocelery._up.plan import Plan, ProcessPlan
from autocelery._up.process import path

_SYSTEMS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def systemd(plan: Plan) -> str:
    """Return one unit a process, in one text: each begins with a comment that has its file's name."""
    return "\n".join(_unit(plan, each) for each in plan.processes)


def supervisord(plan: Plan) -> str:
    """Return the sections that supervisord includes."""
    return "\n".join(_program(plan, each, place) for place, each in enumerate(plan.processes, 1))


def compose(plan: Plan) -> str:
    """Return a compose file's services; what they share, the image above all, is yours to say."""
    services = {}
    for each in plan.processes:
        service: dict[str, object] = {
            "build": ".",
            "command": [_portable(word) for word in each.command],
            "stop_grace_period": f"{each.stop_seconds:.0f}s",
            "stop_signal": "SIGTERM",
            "restart": "unless-stopped",
            "init": True,
        }
        if each.environment:
            service["environment"] = {name: value.replace("$", "$$") for name, value in each.environment}
        if each.after:
            service["depends_on"] = list(each.after)
        if each.memory_limit:
            service["mem_limit"] = each.memory_limit
        services[each.name] = service
    return json.dumps({"services": services}, indent=2) + "\n"  # YAML has all of JSON


WRITERS: Final[Mapping[str, Callable[[Plan], str]]] = {
    "systemd": systemd,
    "supervisord": supervisord,
    "compose": compose,
}


def _unit(plan: Plan, process: ProcessPlan) -> str:
    after = " ".join(f"{_unit_name(each)}" for each in process.after)
    lines = [
        f"# {_unit_name(process.name)}",
        "[Unit]",
        f"Description={process.name} of {plan.app or plan.folder.name}",
        f"After=network-online.target {after}".rstrip(),
        "Wants=network-online.target",
        *([f"Requires={after}"] if after else []),
        "",
        "[Service]",
        f"WorkingDirectory={str(plan.folder).replace('%', '%%')}",
        f"ExecStart={' '.join(_systemd_word(each) for each in _found(process))}",
        *(f'Environment="{name}={_escaped(value)}"' for name, value in _variables(process)),
        "Restart=always",
        "RestartSec=1",
        "KillMode=mixed",
        f"TimeoutStopSec={process.stop_seconds:.0f}",
        *([f"Nice={process.niceness}"] if process.niceness else []),
        *([f"MemoryHigh={process.memory_limit}"] if process.memory_limit else []),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def _program(plan: Plan, process: ProcessPlan, place: int) -> str:
    # By `env`: a value with both kinds of quotes cannot be written in supervisord's own `environment`.
    variables = ["env", *(f"{name}={value}" for name, value in _variables(process))]
    niceness = ["nice", "-n", str(process.niceness)] if process.niceness else []
    command = shlex.join([*niceness, *variables, *_found(process)])
    lines = [
        *(
            [f"; {process.name} has no limit of memory here: supervisord knows none."]
            if process.memory_limit
            else []
        ),
        f"[program:{process.name}]",
        f"command={command.replace('%', '%%')}",
        f"directory={str(plan.folder).replace('%', '%%')}",
        f"priority={place}",
        "autorestart=true",
        "startsecs=5",
        f"stopwaitsecs={process.stop_seconds:.0f}",
        "stopsignal=TERM",
        "killasgroup=true",
        "redirect_stderr=true",
        "",
    ]
    return "\n".join(lines)


def _unit_name(name: str) -> str:
    return f"{name}.service"


def _systemd_word(word: str) -> str:
    escaped = _escaped(word)
    escaped = escaped.replace("$", "$$")  # of which commands alone know variables
    return f'"{escaped}"' if any(each in word for each in " \t'\";") or not word else escaped


def _escaped(text: str) -> str:
    """Return text between quotes in which systemd finds nothing to replace."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _found(process: ProcessPlan) -> tuple[str, ...]:
    """Return the command with the path of its program: a supervisor looks for it in other places than ``up`` does."""
    program, *words = process.command
    return (shutil.which(program, path=path()) or program, *words)


def _variables(process: ProcessPlan) -> tuple[tuple[str, str], ...]:
    """Return its variables, with the venv's commands in its ``PATH``, as ``up`` has them."""
    return (("PATH", os.pathsep.join((str(Path(sys.prefix, "bin")), _SYSTEMS_PATH))), *process.environment)


def _portable(word: str) -> str:
    """Return a word of a command as a container has it: its own Python, and `$` for compose."""
    return "python" if word == sys.executable else word.replace("$", "$$")
