# mypy: ignore-errors
# ruff: noqa: DJ008 (no page shows a row)
"""Tables of the usual service: accounts with keys, generations, and the entries of their money."""

import secrets

from django.db import models


class Account(models.Model):
    """A prepaid balance, with the part of it that open generations hold."""

    name = models.CharField(max_length=100)
    balance = models.DecimalField(max_digits=12, decimal_places=4)
    reserved = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    is_authenticated = True


class ApiKey(models.Model):
    """A key, of which only the digest is kept."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)


class Generation(models.Model):
    """A paid request for one picture."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    token = models.CharField(max_length=64, unique=True, default=secrets.token_hex)
    model = models.CharField(max_length=50)
    prompt = models.TextField()
    size = models.CharField(max_length=20)
    cost = models.DecimalField(max_digits=12, decimal_places=4)
    status = models.CharField(max_length=20, default="queued")
    file = models.FileField(upload_to="images/%Y/%m/%d", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)


class Entry(models.Model):
    """A charge, with the balance after it."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    generation = models.OneToOneField(Generation, on_delete=models.CASCADE)
    amount = models.DecimalField(max_digits=12, decimal_places=4)
    balance_after = models.DecimalField(max_digits=12, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)
