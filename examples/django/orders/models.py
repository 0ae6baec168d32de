from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    invoice = models.CharField(max_length=100, blank=True)

    def __str__(self):
        return f"{self.customer}: {self.amount}"
