"""The admin of staff: who may enter, what each may do, and what each has done. Only superusers write the first two.

Django lets everyone with the permission to change users make a superuser, of themselves too, or set a superuser's
password. That permission alone would then move money.
"""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest

from billing.admin.records import ReadOnlyAdmin

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

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow nobody to delete, because the log names those who left. Superusers take `is_active` away."""
        return False


@admin.register(Group)
class StaffGroupAdmin(ForSuperusers, GroupAdmin):
    """The admin of groups, whose permissions their members have."""


@admin.register(LogEntry)
class StaffLogAdmin(ReadOnlyAdmin):
    """The log of what staff did in the admin, newest first. The database refuses changes."""

    list_display = ["action_time", "user", "content_type", "object_repr", "action", "said"]
    fields: ClassVar[Any] = [*list_display, "object_id"]
    readonly_fields = fields
    list_filter = ["content_type", "user"]
    list_select_related = ["user", "content_type"]
    date_hierarchy = "action_time"
    search_fields = ["=user__username", "=object_id", "object_repr"]
    search_help_text = "Search by the name of a staff member, or by the id or name of an object."

    @admin.display(description="action", ordering="action_flag")
    def action(self, entry: LogEntry) -> str:
        """Return what kind of act it was."""
        return entry.get_action_flag_display()

    @admin.display(description="details")
    def said(self, entry: LogEntry) -> str:
        """Return the details as staff read them."""
        return entry.get_change_message()


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)
