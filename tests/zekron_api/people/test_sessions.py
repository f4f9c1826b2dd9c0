"""Expired sessions of people leave the database."""

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests import browsers
from zekron_api.tasks import clear_sessions

pytestmark = pytest.mark.django_db


def test_an_expired_session_goes_with_what_is_kept_of_it_and_others_stay() -> None:
    people = [User.objects.create_user(name) for name in ("ada", "ben")]
    for person in people:
        key = browsers.sign_in(Client(), person).session.session_key
        UserSession.objects.create(user=person, session_key=key, ip="192.0.2.1", user_agent="")
    expired = UserSession.objects.get(user=people[0]).session_key
    Session.objects.filter(session_key=expired).update(expire_date=timezone.now() - timedelta(seconds=1))
    clear_sessions()
    clear_sessions()
    assert [each.user for each in UserSession.objects.all()] == [people[1]]
    assert Session.objects.count() == 1


def test_counts_that_count_no_more_leave_the_cache() -> None:
    cache.set("old", 1, timeout=-1)
    cache.set("new", 1, timeout=60)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE zekron_cache SET expires = now() - interval '1 s' WHERE cache_key LIKE '%old'")
        clear_sessions()
        cursor.execute("SELECT cache_key FROM zekron_cache")
        assert [key for (key,) in cursor.fetchall()] == [":1:new"]
