# mypy: ignore-errors
"""Bearer keys."""

import hashlib

from rest_framework import authentication, exceptions

from bench.baselines.usual_service.models import ApiKey


class KeyAuthentication(authentication.BaseAuthentication):
    """Bearer keys."""

    def authenticate(self, request):
        """Return the key's account."""
        digest = hashlib.sha256(request.headers.get("Authorization", "").removeprefix("Bearer ").encode())
        key = ApiKey.objects.select_related("account").filter(digest=digest.hexdigest()).first()
        if key is None:
            raise exceptions.AuthenticationFailed("Invalid or inactive API key.")
        return key.account, key

    def authenticate_header(self, request):
        """Return the scheme, which makes a missing key a 401."""
        return "Bearer"
