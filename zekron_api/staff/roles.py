"""The roles of staff: groups that each `migrate` creates if they are missing, and never changes afterwards.

Superusers change them in the admin. A group that they delete comes back with the next `migrate`.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import transaction

_APPS: Final = ("admin", "auth", "billing", "workers")
_SUPPORT: Final = (
    "billing.view_account",
    "billing.view_apikey",
    "workers.view_generation",
    "workers.view_webhookdelivery",
    "workers.view_webhookendpoint",
)
_OPERATOR: Final = (*_SUPPORT, "workers.cancel_generation", "workers.change_webhookendpoint")
_BILLING: Final = (
    *_SUPPORT,
    "billing.add_account",
    "billing.add_apikey",
    "billing.add_redemptioncode",
    "billing.change_account",
    "billing.change_apikey",
    "billing.change_redemptioncode",
    "billing.view_carddispute",
    "billing.view_cardmovement",
    "billing.view_cardrefund",
    "billing.view_debtentry",
    "billing.view_ledgerentry",
    "billing.view_redemptioncode",
    "billing.view_reservation",
    "billing.view_toldrefund",
    "billing.view_topuporder",
    "workers.refund_generation",
)
# Only superusers manage staff, so an owner sees them.
_OWNER: Final = (
    *dict.fromkeys((*_OPERATOR, *_BILLING)),
    "admin.view_logentry",
    "auth.view_group",
    "auth.view_user",
)
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "support": _SUPPORT,
    "operator": _OPERATOR,
    "billing": _BILLING,
    "owner": _OWNER,
}


def create_missing(**_signal: Any) -> None:
    """Create the groups that do not exist, with their permissions. May be called again."""
    for name in _APPS:
        # The signal comes before those by which Django creates the permissions of later apps.
        create_permissions(apps.get_app_config(name), verbosity=0)
    for name, permissions in ROLES.items():
        with transaction.atomic():
            group, is_new = Group.objects.get_or_create(name=name)
            if is_new:
                group.permissions.set([_find(permission) for permission in permissions])


def _find(permission: str) -> Permission:
    app_label, codename = permission.split(".")
    return Permission.objects.get(content_type__app_label=app_label, codename=codename)
