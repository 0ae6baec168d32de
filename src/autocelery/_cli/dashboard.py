"""``autocelery dashboard``: workers, queues and tasks in a browser."""

from __future__ import annotations

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell

PORT = 8010


@click.command(epilog="Example: autocelery -A proj dashboard --port 8020")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="On this machine only."
)
@click.pass_obj
def dashboard(shell: Shell, port: int) -> None:
    """Show workers, queues with their length, and tasks as they come, in a browser.

    It listens on 127.0.0.1 and has no password. To see it from elsewhere: ssh -L 8010:127.0.0.1:8010 there.
    Tasks are seen of workers that send events: celery worker -E, or worker_send_task_events = True.
    """
    from autocelery._dashboard import listening

    listening.see_that_it_is_installed("dashboard")
    app = shell.find_app()
    listening.see_that_port_is_free(port)
    from autocelery._dashboard import serving

    printing.note(f"Dashboard: http://127.0.0.1:{port}/")
    serving.serve(app, port)
