# mypy: ignore-errors
"""Errors and their envelope."""

import secrets

from rest_framework.exceptions import APIException
from rest_framework.views import exception_handler


class PaymentRequired(APIException):
    """The balance is too low."""

    status_code, default_detail = 402, "Not enough balance."


class Gone(APIException):
    """The image has expired."""

    status_code, default_detail = 410, "The image has expired."


def handle_exception(error, context):
    """Put an error into the API's envelope."""
    response = exception_handler(error, context)
    if response is not None:
        code = f"ERROR_CODE_{secrets.token_hex(3).upper()}"
        support = f"Contact support with error code: {code}"
        response.data = {"success": False, "error": {"message": str(error), "code": code, "support": support}}
    return response
