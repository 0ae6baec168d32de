"""A shop that prices orders in the background."""

from flask import Flask

from autocelery.presets.flask import Autocelery

celery = Autocelery(time_limit=600)


def create_app(**config: object) -> Flask:
    app = Flask(__name__)
    app.config.update(TAX=0.25)
    app.config.update(config)
    celery.init_app(app)

    from shop.orders import orders

    app.register_blueprint(orders)
    return app
