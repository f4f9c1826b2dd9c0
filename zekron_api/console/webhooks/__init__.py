"""The page Webhooks: the owners of an account manage its webhooks, and look at what was sent."""
