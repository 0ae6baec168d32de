"""For workers: celery -A make_celery worker."""

from hello import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
