"""Everything for running on one machine without configuration: servers, secrets, the whole stack.

Knows nothing of Django: settings import it, and it must work before they can be read.
"""
