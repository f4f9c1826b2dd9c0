"""Everything about HTTP that endpoints share: errors, authentication, rate limit, JSON. It knows no endpoint."""
