"""The admin of staff: who may enter, and what each may do. Only superusers write it.

Django lets everyone with the permission to change users make a superuser, of themselves too, or set a superuser's
password. That permission alone would then move money.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest

admin.site.unregister([User, Group])


class ForSuperusers(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """An admin that other staff may read by Django's permission, and that only superusers may write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow superusers alone."""
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow superusers alone. The page for a password asks this too."""
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow superusers alone."""
        return _is_superuser(request)


@admin.register(User)
class StaffAdmin(ForSuperusers, UserAdmin):  # type: ignore[type-arg] # as above
    """The admin of staff members, their passwords and their permissions."""


@admin.register(Group)
class StaffGroupAdmin(ForSuperusers, GroupAdmin):
    """The admin of groups, whose permissions their members have."""


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)
