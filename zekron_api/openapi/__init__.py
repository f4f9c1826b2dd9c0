"""The OpenAPI document, and the reference page made from it.

drf-spectacular takes the schemas from the serializers. A new endpoint needs an entry in `operations.py` for its
serializers, in a module of causes for its errors, and in `document.yaml` for its texts and examples.
"""
