"""Evaluation of a trained model by a classifier of pictures.

The classifier learns from the painter's pictures alone, so it cannot favour the model.
"""
