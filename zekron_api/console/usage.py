"""The page Usage: figures of a range, a chart, and its numbers as tables. The queries are those of GET /v1/usage."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from billing.grants import Scope
from workers.usage import queries, roll_up
from workers.usage.queries import TooManyRows, Usage
from zekron_api.console import pages, usage_series
from zekron_api.console.access import Access, member_page
from zekron_api.console.session_api import SessionView
from zekron_api.console.usage_form import GROUPS, MEASURES, RANGES, UsageForm, UsageQuery
from zekron_api.console.usage_series import NamedSums
from zekron_api.endpoints import time_range
from zekron_api.endpoints.export_usage import MEDIA_TYPES, ExportView
from zekron_api.endpoints.reply_fields import utc


class ConsoleExportView(SessionView, ExportView):
    """GET /v1/usage/export for the page."""


@member_page(Scope.USAGE)
def serve(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Show the usage of a range up to this moment, or the form again if it names none."""
    form = UsageForm(request.GET, end=time_range.full_hour_after(time_range.now()))
    context: dict[str, Any] = {"form": form, "ranges": RANGES}
    if form.is_valid():
        query = form.query()
        try:
            context |= _read(access, query)
        except TooManyRows:
            form.add_error(None, "This range has too many groups. Choose fewer days, or another group.")
    return pages.render(request, access, "usage.html", context)


def _read(access: Access, query: UsageQuery) -> dict[str, Any]:
    """Return the numbers of the page. Raises TooManyRows."""
    rows = queries.read(
        account_id=access.account.pk,
        start=query.start,
        end=query.end,
        bucket=query.bucket,
        group_by=(query.group,) if query.group else (),
    )
    measure, is_money = dict(MEASURES)[query.measure], query.measure == "cost"
    names = {None: measure}
    if query.group:
        names = usage_series.read_names(rows, account_id=access.account.pk, group=query.group)
    starts = usage_series.list_starts(query.start, query.end, query.bucket)
    series = usage_series.list_series(rows, names, starts, is_money=is_money)
    return {
        "query": query,
        "group": dict(GROUPS)[query.group or ""],
        "time_heading": f"{query.bucket.capitalize()} (UTC)",
        "measure": measure,
        "total": NamedSums("Total", queries.add(rows)),
        "series": series,
        "without_key": names.get(None) if query.group == "key" else None,
        "chart": usage_series.chart_data(series, starts, query.bucket, is_money=is_money),
        "chart_rows": usage_series.chart_rows(series, starts, query.bucket, is_money=is_money)
        if query.group
        else [],
        "live_from": _live_from(query),
        "exports": _list_exports(access, query),
        **(_read_groups(rows, names) if query.group else _read_times(rows, query)),
    }


def _read_groups(rows: list[Usage], names: dict[Any, str]) -> dict[str, Any]:
    groups = usage_series.list_groups(rows, names)
    return {"groups": groups[: usage_series.MAX_GROUPS], "group_count": len(groups)}


def _read_times(rows: list[Usage], query: UsageQuery) -> dict[str, Any]:
    return {"times": usage_series.list_times(rows, query.bucket)}


def _live_from(query: UsageQuery) -> datetime | None:
    """Return the time from which the numbers can still grow, or None if all are final."""
    closed_until = roll_up.read_closed_until() or query.start
    return max(closed_until, query.start) if closed_until < query.end else None


def _list_exports(access: Access, query: UsageQuery) -> list[tuple[str, str]]:
    """Return the format and the address of each file with every charge of the range."""
    address = reverse("console:usage_export", kwargs={"account_id": access.account.pk})
    times = {"from": utc(query.start), "to": utc(query.end)}
    return [(kind, f"{address}?{urlencode({**times, 'format': kind})}") for kind in MEDIA_TYPES]
