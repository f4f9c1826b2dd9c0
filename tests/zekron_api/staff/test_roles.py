"""The roles of staff: created when they are missing, and left alone when superusers have changed them."""

import pytest
from django.contrib.auth.models import Group, Permission, User

from zekron_api.staff import roles
from zekron_api.staff.roles import ROLES

pytestmark = pytest.mark.django_db


def permissions_of(name: str) -> set[str]:
    found = Permission.objects.filter(group__name=name)
    return {f"{each.content_type.app_label}.{each.codename}" for each in found}


def test_each_role_has_its_permissions() -> None:
    Group.objects.all().delete()
    roles.create_missing()
    assert {name: permissions_of(name) for name in ROLES} == {
        name: set(permissions) for name, permissions in ROLES.items()
    }


def test_a_role_that_was_changed_stays_so() -> None:
    roles.create_missing()
    Group.objects.get(name="support").permissions.clear()
    roles.create_missing()
    assert permissions_of("support") == set()


def test_support_and_operators_move_no_money_and_nobody_manages_staff() -> None:
    worth_money = {"billing.add_apikey", "billing.change_account", "workers.refund_generation"}
    for name in ("support", "operator"):
        assert not worth_money & set(ROLES[name])
    managing = ("auth.add_", "auth.change_", "auth.delete_", "admin.add_", "admin.change_", "admin.delete_")
    assert not [each for role in ROLES.values() for each in role if each.startswith(managing)]


def test_a_member_of_a_role_has_its_permissions() -> None:
    roles.create_missing()
    user = User.objects.create_user("bob", is_staff=True)
    user.groups.add(Group.objects.get(name="billing"))
    assert user.has_perms(ROLES["billing"])
    assert not user.has_perm("workers.cancel_generation")
