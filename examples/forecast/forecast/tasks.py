"""What the workers are asked to do."""

from forecast.celery import app
from forecast.model import predict


@app.task
def error(sold):
    """Return by how much the model is wrong about the last day."""
    return abs(predict(sold[:-1]) - sold[-1])
