"""Servers, secrets and the whole stack for one machine without configuration.

The package does not know Django, because the settings import it and it must work before they are read.
"""
