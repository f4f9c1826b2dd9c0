# mypy: ignore-errors
"""C15's A: a view of the Django REST framework that always replies the same, in Django's own ASGI handler.

It has no key, no limit of requests, no database and no Redis.
"""

import secrets

from django.conf import settings

settings.configure(
    SECRET_KEY=secrets.token_hex(),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
)

from django.core.asgi import get_asgi_application  # noqa: E402 (all of these need the settings)
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class ConstantView(APIView):
    """A view without any work."""

    def get(self, request):
        """Reply with as many bytes as a balance has."""
        totals = {"balance": "9.9462", "total_spent": "0.0538", "total_generations": 2, "currency": "USD"}
        return Response({"success": True, "data": totals})


application = get_asgi_application()
urlpatterns = [path("constant", ConstantView.as_view())]
