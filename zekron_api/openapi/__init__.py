"""The API described for programs and people: the OpenAPI document, and the reference page made from it.

Start at `operations.py`. Nothing here decides anything: what is said is taken from the code that does, or held to it
by tests.
"""
