"""Small image model with all its sources: painter, captions, training, evaluation and weights.

The service does not import this package, and this package does not import the service.
"""
