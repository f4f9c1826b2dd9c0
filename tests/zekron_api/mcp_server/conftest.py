"""A started waiting room for the scenarios of agents."""

from tests.zekron_api.waiting.conftest import served

__all__ = ["served"]
