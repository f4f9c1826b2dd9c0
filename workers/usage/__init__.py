"""Usage of accounts: the hourly roll-up, queries of it, the export, the ledger's pages and monthly statements."""
