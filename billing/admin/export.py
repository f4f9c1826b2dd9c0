"""The export of an admin's list as CSV, with the columns of the list."""

from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field, lookup_field
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from billing import spreadsheet
from billing.spreadsheet import Cell

# The rows are in memory while the file is made. Whoever needs more takes the API's export or the database.
MAX_ROWS: Final = 10_000


class ExportMixin(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """An admin with the action "Export as CSV", for all who may see the list."""

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send the selected rows, times in UTC, or say that they are too many."""
        rows = list(queryset[: MAX_ROWS + 1])
        if len(rows) > MAX_ROWS:
            message = f"An export has at most {MAX_ROWS} rows. Select fewer, for instance by a filter."
            self.message_user(request, message, messages.ERROR)
            return None
        names = self.get_list_display(request)
        header = [str(label_for_field(name, self.model, self)) for name in names]
        content = spreadsheet.write([header, *([self._cell(name, row) for name in names] for row in rows)])
        stem = f"{self.opts.model_name}-{datetime.now(UTC):%Y-%m-%d}"
        return HttpResponse(
            content,
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{stem}.csv"',
                "Cache-Control": "no-store",
            },
        )

    def _cell(self, name: Any, row: Model) -> Cell:
        _, _, value = lookup_field(name, row, self)
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat(timespec="seconds")
        return value if value is None or isinstance(value, int) else str(value)
