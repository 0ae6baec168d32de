"""``autocelery doctor``: what will hurt in production, why, and the setting that mends it."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell
from autocelery.errors import AutoceleryError

if TYPE_CHECKING:
    from autocelery._doctor.finding import Finding, Level
    from autocelery._doctor.looking import Report
    from autocelery._doctor.rule import Rule

#: The exit code of a look that was not possible.
_COULD_NOT_LOOK = 2
#: How many places of one rule are listed.
_PLACES = 5
_COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


@click.group(invoke_without_command=True, epilog="Example: autocelery -A proj doctor --fail-on error")
@click.option(
    "--offline", is_flag=True, help="Leave the broker, the workers and this machine's processes alone."
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info"]),
    default="warning",
    help="The least level that makes the exit code 1; default: warning.",
)
@click.option(
    "--fix", is_flag=True, help="Write the settings that mend, where each is one, and show the diff."
)
@click.option("--diff", is_flag=True, help="Show what --fix would write; write nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Say why, and list every place and every info.")
@click.option("--timeout", type=float, default=1.0, help="Seconds that workers have to answer; default: 1.")
@click.option(
    "--watch", type=float, default=0.0, help="Listen to the workers' events for so many seconds; default: 0."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0.")
@click.pass_context
def doctor(context: click.Context, /, **options: object) -> int | None:
    """Say what in the app's settings, code, broker and workers will hurt in production, why, and what mends it.

    It changes nothing unless --fix is given, and takes no message from a queue. The exit code is 0 where
    nothing is as bad as --fail-on says, 1 where something is, 2 where it could not look.
    """
    if context.invoked_subcommand is not None:
        return None
    try:
        return _look(context.obj, **options)  # type: ignore[arg-type]
    except AutoceleryError as error:
        if context.find_root().params.get("debug"):
            raise
        printing.error(error.message)
        return _COULD_NOT_LOOK


@doctor.command(epilog="Example: autocelery doctor explain AC012")
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(code: str | None, as_json: bool) -> int | None:
    """Say what the rule CODE looks for and why; without one, list them all."""
    from autocelery._doctor import looking

    try:
        rules = [looking.explained(code)] if code else looking.all_rules()
    except AutoceleryError as error:
        printing.error(error.message)
        return _COULD_NOT_LOOK
    if as_json:
        told = [_rule_as_dict(each) for each in rules]
        printing.as_json(told[0] if code else told)
    elif code:
        _explain(rules[0])
    else:
        printing.table(("CODE", "LEVEL", "WHAT"), [(each.code, each.level, each.title) for each in rules])
    return None


def _look(
    shell: Shell,
    *,
    offline: bool,
    fail_on: Level,
    fix: bool,
    diff: bool,
    verbose: bool,
    timeout: float,
    watch: float,
    as_json: bool,
    as_sarif: bool,
) -> int:
    from autocelery._doctor import looking

    app = shell.find_app()
    report = looking.look(app, offline=offline, timeout=timeout, watch=watch)
    if as_json:
        printing.as_json([each.as_dict() for each in report.findings])
    elif as_sarif:
        from autocelery._doctor.sarif import as_sarif as written

        printing.as_json(written(report.findings, looking.all_rules(), report.evidence.app_file))
    else:
        _print(report, verbose)
    if fix or diff:
        _mend(report, write=fix and not diff)
    return 1 if report.fails(fail_on) else 0


def _mend(report: Report, *, write: bool) -> None:
    """Show the edits, and make them if they are wanted; to stderr, beside whatever was asked for."""
    from autocelery._doctor import fixing

    mends = fixing.plan(report.findings, report.evidence)
    for edit in mends.edits:
        printing.note(edit.diff)
        if write:
            edit.write()
    for each in mends.told:
        printing.note(each)
    if not mends.edits and not mends.told:
        printing.note("Nothing is mended by one setting.")
    elif mends.edits:
        files = printing.counted(len(mends.edits), "file")
        printing.note(f"Wrote {files}. Look again." if write else f"{files} would be written by --fix.")


def _print(report: Report, verbose: bool) -> None:
    from autocelery._doctor.finding import LEVELS

    shown = [each for each in report.findings if verbose or each.level != "info"]
    for _, group in groupby(shown, key=lambda each: (each.level, each.code)):
        _print_rule(list(group), verbose)
    infos = report.count("info")
    if infos and not verbose:
        codes = ", ".join(dict.fromkeys(each.code for each in report.findings if each.level == "info"))
        printing.result(f"To decide before production: {codes}. See them with -v.\n")
    counts = [printing.counted(report.count(level), level) for level in LEVELS[::-1]]
    ignored = f"; {report.ignored} ignored" if report.ignored else ""
    printing.note(f"{', '.join(counts)}{ignored}." if report.findings or ignored else "Nothing found.")
    if shown:
        printing.note(f"More on one: autocelery doctor explain {shown[0].code}")


def _print_rule(findings: list[Finding], verbose: bool) -> None:
    """Print all that one rule found: its places below each other, and once what mends it."""
    first = findings[0]
    level = click.style(first.level, fg=_COLOURS[first.level], bold=True)
    printing.result(f"{first.code} {level}: {first.title}")
    places = findings if verbose else findings[:_PLACES]
    for each in places:
        printing.result(f"  {each.where.text}\n    {each.message}")
        if each.fix != first.fix:
            printing.result(f"    Mend: {each.fix}")
    if len(findings) > len(places):
        printing.result(f"  and {len(findings) - len(places)} more")
    if verbose:
        printing.result(f"  Why: {first.why}\n  Since: {first.since}")
    printing.result(f"  Mend: {first.fix}\n")


def _explain(rule: Rule) -> None:
    printing.result(f"{rule.code} {rule.level}: {rule.title}\n")
    printing.result(f"{rule.why}\n")
    printing.result(f"Since: {rule.since}")
    printing.result(f"Mend: {rule.fix}")
    for issue in rule.issues:
        repository, _, number = issue.partition("#")
        printing.result(f"See: https://github.com/{repository}/issues/{number}")


def _rule_as_dict(rule: Rule) -> dict[str, object]:
    return {
        "code": rule.code,
        "level": rule.level,
        "title": rule.title,
        "why": rule.why,
        "since": rule.since,
        "fix": rule.fix,
        "issues": list(rule.issues),
    }
