"""``autocelery snapshots``: what was sent, what is in it, and its end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell

if TYPE_CHECKING:
    from autocelery._publish.history import SnapshotRecord

_LETTERS = {"added": "A", "removed": "D", "changed": "M"}


@click.group(epilog="Example: autocelery -A proj snapshots list")
def snapshots() -> None:
    """List, show, compare, check out and revoke the snapshots in the app's store.

    Wherever a snapshot is asked for, the first digits of its id are enough.
    """


@snapshots.command("list", epilog="Example: autocelery -A proj snapshots list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(shell: Shell, as_json: bool) -> None:
    """List the snapshots in the store, the latest first."""
    from autocelery._publish import history

    found = history.snapshots(shell.auto())
    if as_json:
        printing.as_json([asdict(record) for record in found])
    elif found:
        printing.table(("SNAPSHOT", "SENT", "EXPIRES", "KEY", "STATE", "FROM"), map(_row, found))
    else:
        printing.note("The store has no snapshot yet; the first live call sends one.")


@snapshots.command(epilog="Example: autocelery -A proj snapshots show 3f2a9c --files")
@click.argument("snapshot")
@click.option("--files", is_flag=True, help="List its files too, with their sizes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(shell: Shell, snapshot: str, files: bool, as_json: bool) -> None:
    """Show what SNAPSHOT needs and has: its roots, import paths, Python, app and packages."""
    from autocelery._publish import history

    auto = shell.auto()
    full = history.resolve(auto, snapshot)
    manifest = history.manifest(auto, full)
    sizes = {path: size for path, (_, _, size) in history.paths(auto, full).items()} if files else {}
    if as_json:
        printing.as_json({"id": full, **asdict(manifest), **({"files": sizes} if files else {})})
        return
    app = f"{manifest.app.module}:{manifest.app.attribute}" if manifest.app.module else "made by a script"
    printing.result(f"snapshot  {full}")
    printing.result(f"python    {manifest.python}")
    printing.result(f"app       {app}")
    printing.result(f"roots     {', '.join(root.name for root in manifest.roots)}")
    printing.result(f"paths     {', '.join(manifest.paths)}")
    packages = ", ".join(f"{each.distribution} {each.version}" for each in manifest.packages)
    printing.result(f"packages  {packages or 'none'}")
    for path, size in sorted(sizes.items()):
        printing.result(f"  {printing.size(size):>9}  {path}")


@snapshots.command(epilog="Example: autocelery -A proj snapshots diff 3f2a9c 81d0e4")
@click.argument("before")
@click.argument("after", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(shell: Shell, before: str, after: str | None, as_json: bool) -> None:
    """Show which files were added (A), removed (D) or changed (M) from BEFORE to AFTER.

    Without AFTER: to the working tree as it is now, which is sent to the store for that.
    """
    from autocelery._publish import history

    auto = shell.auto()
    old = history.resolve(auto, before)
    changes = history.diff(auto, old, history.resolve(auto, after) if after else auto.snapshot().id)
    if as_json:
        printing.as_json([asdict(change) for change in changes])
        return
    for change in changes:
        printing.result(f"{_LETTERS[change.kind]} {change.path}")
    if not changes:
        printing.note("They have the same files.")


@snapshots.command(epilog="Example: autocelery -A proj snapshots checkout 3f2a9c ./as-it-was")
@click.argument("snapshot")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def checkout(shell: Shell, snapshot: str, folder: Path) -> None:
    """Write the files of SNAPSHOT to FOLDER, which must not exist yet; they are read-only."""
    from autocelery._publish import history

    auto = shell.auto()
    printing.result(str(history.checkout(auto, history.resolve(auto, snapshot), folder.absolute())))


@snapshots.command(epilog="Example: autocelery -A proj snapshots revoke 3f2a9c")
@click.argument("snapshot")
@click.pass_obj
def revoke(shell: Shell, snapshot: str) -> None:
    """Have every worker refuse SNAPSHOT from now on."""
    from autocelery._publish import history

    auto = shell.auto()
    full = history.resolve(auto, snapshot)
    told = history.revoke(auto, full)
    printing.note(
        f"Revoked. Running workers that know it already: {told}. The others learn it from the store."
    )
    printing.result(full)


def _row(record: SnapshotRecord) -> tuple[str, ...]:
    state = "revoked" if record.revoked else "valid" if record.trusted else "not trusted"
    sent, expires = (printing.moment(each) if each else "-" for each in (record.issued, record.expires))
    return record.id[:12], sent, expires, record.key, state, record.local_root or "-"
