"""The configuration of this Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate

# Django's start creates the Celery app, which then sends the tasks of every process. The package itself does not, so
# that the programs of `zekron_api.local` start without Celery.
from zekron_api.celery import app as celery_app

__all__ = ["ZekronApiConfig", "celery_app"]


class ZekronApiConfig(AppConfig):
    """The app that brings templates, static files and the roles of staff."""

    name = "zekron_api"

    def ready(self) -> None:
        """Connect the signals: of `migrate` to the roles of staff, and of sign-ins to what follows from them."""
        # Django loads the models of an app only before this method.
        from allauth.account import signals  # noqa: PLC0415
        from allauth.mfa.models import Authenticator  # noqa: PLC0415

        from zekron_api.people import second_factor, sign_up, staff_log  # noqa: PLC0415
        from zekron_api.staff import roles  # noqa: PLC0415

        post_migrate.connect(roles.create_missing, sender=self)
        post_delete.connect(second_factor.destroy_keys, sender=Authenticator)
        signals.user_signed_up.connect(sign_up.on_signed_up)
        signals.email_confirmed.connect(sign_up.on_email_confirmed)
        staff_log.connect()
