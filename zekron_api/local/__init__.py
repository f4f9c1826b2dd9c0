"""Everything for running on one machine without configuration: servers, secrets, and the whole stack under a supervisor."""
