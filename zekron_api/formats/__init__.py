"""The formats of dates and times on the staff's pages."""
