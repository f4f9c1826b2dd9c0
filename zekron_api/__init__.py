"""The HTTP service: settings, routes, endpoints, errors. It knows not how money moves or images are made."""
