"""The admin without the pages of django-allauth, which would change people's addresses and second factors unnoticed."""

from importlib import import_module

from django.apps import apps
from django.contrib import admin

for name in ("allauth.account", "allauth.mfa", "allauth.usersessions"):
    # The module registers its pages when it is imported, which Django would do later.
    import_module(f"{name}.admin")
    for model in apps.get_app_config(name.rpartition(".")[2]).get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)
