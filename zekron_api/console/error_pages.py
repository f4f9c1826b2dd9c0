"""Errors as pages, for browsers on the pages for people. Programs and scripts get the envelope everywhere."""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from zekron_api.http.errors import ErrorReply

_PATHS: Final = ("/console/", "/me/", "/invitations/", "/sign-in/")
_TITLES: Final = {
    403: "You may not open this page",
    404: "There is no such page",
    429: "Too many tries",
    503: "The service is away for a moment",
}


def error_pages(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Show the message of an error as a page to clients that prefer HTML, with the same status and headers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not isinstance(response, ErrorReply) or not request.path_info.startswith(_PATHS):
            return response
        if request.get_preferred_type(["application/json", "text/html"]) != "text/html":
            return response
        title = _TITLES.get(response.status_code, "That did not work")
        error = {"title": title, "message": response.error["message"], "code": response.error["code"]}
        page = render(request, "zekron_api/console/error.html", error, status=response.status_code)
        for name, value in response.items():
            if name.lower() not in {"content-type", "content-length"}:
                page[name] = value
        return page

    return middleware
