"""Money and who may spend it: accounts, keys, reservations, ledger, prices. Knows no images and no HTTP."""
