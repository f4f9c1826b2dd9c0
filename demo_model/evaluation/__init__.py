"""Says what a picture shows. It learns from the painter alone, so that it cannot take the model's side."""
