"""Dates and times that say their zone, with the names that Django reads them by."""

from typing import Final

DATE_FORMAT: Final = "Y-m-d"
TIME_FORMAT: Final = "H:i:s T"
DATETIME_FORMAT: Final = "Y-m-d H:i:s T"
SHORT_DATETIME_FORMAT: Final = "Y-m-d H:i T"
