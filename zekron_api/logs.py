"""Keeps out of the logs what must not be there."""

import logging


class WithoutPaths(logging.Filter):
    """For `django.request`, which names a path that may hold an image's token.

    Its line about a refused request says nothing that the request's own line does not; one about an exception stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if not record.exc_info:
            return False
        record.msg, record.args = "an exception that no view expected", ()
        return True
