"""The configuration of Django's admin with the site of this project."""

from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    """The admin app, whose site has an overview on its first page."""

    default_site = "zekron_api.staff.site.StaffSite"
