"""The page People: the owners of an account invite people, give them roles and take them out."""
