"""The app configuration of this package for Django."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """The Django app `billing`."""

    name = "billing"

    def ready(self) -> None:
        """Register the checks."""
        from billing import checks  # noqa: F401, PLC0415 (a check is registered by its import)
