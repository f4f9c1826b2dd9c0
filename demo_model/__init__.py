"""A small model that paints, and everything it is made from: painter, captions, training, judge. The service knows
nothing of this package, and this package nothing of the service.
"""
