"""The console: pages on which people use an account in a browser. Each view calls the functions that the API calls."""
