import pytest
from fastapi.testclient import TestClient
from shop.main import app, celery


@pytest.fixture
def autocelery_app():
    """The app that autocelery's fixtures are about."""
    return celery


@pytest.fixture(params=["autocelery_eager", "autocelery_worker"], autouse=True)
def running(request):
    """Each test runs without a worker, and with one on a real broker."""
    request.getfixturevalue(request.param)
    return request.param


@pytest.fixture
def client(running):
    with TestClient(app) as client:
        yield client
