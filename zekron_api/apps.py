"""The configuration of this Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

# Django's start creates the Celery app, which then sends the tasks of every process. The package itself does not, so
# that the programs of `zekron_api.local` start without Celery.
from zekron_api.celery import app as celery_app

__all__ = ["ZekronApiConfig", "celery_app"]


class ZekronApiConfig(AppConfig):
    """The app that brings templates, static files and the roles of staff."""

    name = "zekron_api"

    def ready(self) -> None:
        """Have each `migrate` create the roles of staff that are missing."""
        # Django loads the models of an app only before this method.
        from zekron_api.staff import roles  # noqa: PLC0415

        post_migrate.connect(roles.create_missing, sender=self)
