"""Money and who may spend it: accounts, keys, reservations, ledger, prices. Knows nothing of images or HTTP."""
