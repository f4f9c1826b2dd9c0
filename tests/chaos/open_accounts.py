"""Accounts and keys, made by the release whose folder is the working directory.

`python PATH OPENING…` opens an account for each amount, and prints its id, a key for the usual, and one for webhooks.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

# The path decides which release is imported.
import django

django.setup()

from billing import keys, ledger  # noqa: E402
from billing.grants import Grants, Scope  # noqa: E402

made = []
for place, opening in enumerate(sys.argv[1:], start=1):
    account = ledger.open_account(name=f"chaos {place}", opening_micros=int(opening), actor="chaos")
    _, key = keys.issue(account_id=account.pk)
    _, webhook_key = keys.issue(account_id=account.pk, grants=Grants(scopes=(Scope.WEBHOOKS,)))
    made.append((account.pk, key, webhook_key))
sys.stdout.write(json.dumps(made))
