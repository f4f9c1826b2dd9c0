"""Clients of the API, each with an account and a key of its own."""

from typing import Any, NamedTuple

from django.test import Client

from billing import keys
from billing.grants import DEFAULT_GRANTS, DEFAULT_SCOPES, Grants, Scope
from billing.models import Account
from tests import factories


class Caller(NamedTuple):
    """One who calls the API with a key."""

    account: Account
    key: str
    client: Client

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=self._headers(headers))

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.post(path, body, content_type="application/json", headers=self._headers(headers))

    def delete(self, path: str, **headers: str) -> Any:
        return self.client.delete(path, headers=self._headers(headers))

    def generate(self, **body: Any) -> Any:
        return self.post("/v1/generate", {"prompt": "a boat", "size": "512x512", **body})

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", **headers}


def caller(*, balance_micros: int = 10_000_000, grants: Grants = DEFAULT_GRANTS) -> Caller:
    """Open a new account with a key."""
    owner = factories.account(balance_micros=balance_micros)
    _, key = keys.issue(account_id=owner.pk, grants=grants)
    return Caller(owner, key, Client(raise_request_exception=False))


def payer() -> Caller:
    """Open a new account with a key that pays money in."""
    return caller(grants=Grants(scopes=(Scope.READ, Scope.BILLING)))


def receiver() -> Caller:
    """Open a new account with a key that manages its webhooks, beside the usual."""
    return caller(grants=Grants(scopes=(*DEFAULT_SCOPES, Scope.WEBHOOKS)))
