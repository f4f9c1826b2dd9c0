"""The lookup of a model by the name that a command was given."""

from django.core.management.base import CommandError

from workers.catalogue import CatalogueError, ImageModel, catalogue


def find_model(name: str) -> ImageModel:
    """Return the model of this name. Raise CommandError."""
    try:
        models = catalogue()
    except CatalogueError as problem:
        raise CommandError(str(problem)) from None
    if name not in models:
        raise CommandError(f"Unknown model {name!r}. Allowed: {', '.join(models)}")
    return models[name]
