"""The end of sessions that have expired, of what is kept of them, and of counts that count no more."""

from typing import Final

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection

# Django deletes an entry of its cache only when somebody asks for it, or when the table is full.
_CLEAR_CACHE: Final = "DELETE FROM {} WHERE expires < statement_timestamp()"


def clear_expired() -> None:
    """Delete all of them. May be called twice, and at once."""
    SessionStore.clear_expired()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    table = connection.ops.quote_name(str(settings.CACHES["default"]["LOCATION"]))
    with connection.cursor() as cursor:
        cursor.execute(_CLEAR_CACHE.format(table))
