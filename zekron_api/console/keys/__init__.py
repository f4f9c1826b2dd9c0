"""The page Keys: the owners of an account issue, change, rotate and revoke its API keys."""
