"""The sign-in of customers and staff, by django-allauth. The package knows no page of the console or the admin."""
