"""Scores the model on many shops: autocelery -A forecast run backtest.py"""

from forecast.celery import auto
from forecast.tasks import error

SHOPS = {"north": [10, 12, 14, 16], "south": [8, 8, 8, 8], "west": [5, 9, 7, 11]}

if __name__ == "__main__":
    for shop, missed in zip(SHOPS, auto.map(error, SHOPS.values()), strict=True):
        print(f"{shop:6} {missed:.1f}")
