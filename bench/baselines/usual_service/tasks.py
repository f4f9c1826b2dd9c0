# mypy: ignore-errors
"""The task that makes a picture."""

import io
from datetime import timedelta
from functools import cache

from celery import shared_task
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone

from bench import pictures
from bench.baselines.usual_service.models import Account, Entry, Generation


@cache
def paint(kind, side):
    """Return the picture that the prompt's first word names. It stands for a pipeline that takes no time."""
    return pictures.KINDS.get(kind, pictures.flat)(side)


@shared_task
def generate(generation_id):
    """Make, encrypt and store the picture, and charge for it. A failure releases the hold."""
    generation = Generation.objects.get(pk=generation_id)
    generation.status = "running"
    generation.save(update_fields=["status"])
    try:
        png = io.BytesIO()
        paint(generation.prompt.split()[0], int(generation.size.split("x")[0])).save(png, "PNG")
        content = ContentFile(Fernet(settings.FERNET_KEY).encrypt(png.getvalue()))
        generation.file.save(f"{generation.token}.bin", content, save=False)
    except Exception:
        finish(generation, "failed", charge=0)
        raise
    finish(generation, "completed", charge=generation.cost)


@transaction.atomic
def finish(generation, status, charge):
    """Release the hold, charge, and save the generation."""
    account = Account.objects.select_for_update().get(pk=generation.account_id)
    account.reserved -= generation.cost
    account.balance -= charge
    account.save(update_fields=["reserved", "balance"])
    if charge:
        Entry.objects.create(
            account=account, generation=generation, amount=-charge, balance_after=account.balance
        )
        generation.expires_at = timezone.now() + timedelta(hours=24)
    generation.status = status
    generation.save(update_fields=["status", "file", "expires_at"])
