import pytest
from shop import create_app


@pytest.fixture
def app():
    return create_app(TESTING=True)


@pytest.fixture
def autocelery_app(app):
    """The app that autocelery's fixtures are about."""
    return app.extensions["celery"]


@pytest.fixture(params=["autocelery_eager", "autocelery_worker"], autouse=True)
def running(request):
    """Each test runs without a worker, and with one on a real broker."""
    request.getfixturevalue(request.param)
    return request.param


@pytest.fixture
def client(app):
    return app.test_client()
