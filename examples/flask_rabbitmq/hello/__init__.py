"""A page with a button that starts long work: in the request, and on a worker."""

from flask import Flask

from autocelery.presets.flask import init_app


def create_app(**config: object) -> Flask:
    app = Flask(__name__)
    app.config.update(SECONDS=3.0)
    app.config.from_prefixed_env("HELLO")
    app.config.update(config)
    init_app(app)

    from hello import gotchas, pages, tasks  # noqa: F401 - the tasks are there for workers

    app.register_blueprint(pages.pages)
    return app
