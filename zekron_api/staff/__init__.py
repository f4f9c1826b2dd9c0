"""The staff's pages that know the whole service: the site of the admin, its overview, and the roles of staff."""
