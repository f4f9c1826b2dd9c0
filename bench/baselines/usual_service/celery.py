# mypy: ignore-errors
"""Celery's application, as Celery's manual has it for Django."""

from celery import Celery

app = Celery("usual_service")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
