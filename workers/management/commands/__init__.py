"""Commands of `manage.py` for the workers. Each one parses, makes one domain call and prints."""
