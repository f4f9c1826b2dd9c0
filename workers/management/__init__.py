"""Management of the workers by hand, through `manage.py`."""
