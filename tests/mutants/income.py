"""Mutations of money that comes in by itself."""

from tests.mutants.mutation import Mutation

CODES = "tests/billing/test_codes.py"
REDEEM_CODE = "tests/zekron_api/endpoints/test_redeem_code.py"

MUTATIONS = (
    Mutation(
        name="a code is credited once: the guarded update",
        path="billing/codes.py",
        text="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())",
        without="codes.filter(revoked_at__isnull=True, expires_at__gt=Now())",
        tests=(CODES,),
    ),
    Mutation(
        name="a code that is revoked credits nothing",
        path="billing/codes.py",
        text="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())",
        without="codes.filter(redeemed_at__isnull=True, expires_at__gt=Now())",
        tests=(CODES,),
    ),
    Mutation(
        name="a code that is expired credits nothing",
        path="billing/codes.py",
        text="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())",
        without="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True)",
        tests=(CODES,),
    ),
    Mutation(
        name="a code is shown again only to the account that redeemed it",
        path="billing/codes.py",
        text="code = codes.filter(redeemed_by=account_id).first()",
        without="code = codes.filter(redeemed_by__isnull=False).first()",
        tests=(CODES,),
    ),
    Mutation(
        name="a code is credited once: the second guard, in the ledger",
        path="billing/codes.py",
        text="                request_id=code.credit_id,\n",
        without="",
        tests=(CODES,),
    ),
    Mutation(
        name="a redeemed code is not revoked",
        path="billing/codes.py",
        text="filter(pk=code_id, redeemed_at__isnull=True, revoked_at__isnull=True)",
        without="filter(pk=code_id, revoked_at__isnull=True)",
        tests=(CODES,),
    ),
    Mutation(
        name="codes need the permission that moves money",
        path="billing/admin/codes.py",
        text=' and request.user.has_perm("billing.change_account")',
        without="",
        tests=("tests/billing/test_admin_codes.py",),
    ),
    Mutation(
        name="failed redemptions are limited before a code is looked up",
        path="zekron_api/endpoints/redeem_code.py",
        text="        redemption_limit.refuse_guessing(**guesser)\n",
        without="",
        tests=(REDEEM_CODE,),
    ),
    Mutation(
        name="failed redemptions at once are limited too",
        path="zekron_api/http/redemption_limit.py",
        text="        if not is_admitted:\n",
        without="        if False:\n",
        tests=(REDEEM_CODE,),
    ),
    Mutation(
        name="failed redemptions of an address are limited",
        path="zekron_api/http/redemption_limit.py",
        text='f"address:{address}"',
        without='f"address:{account.pk}"',
        tests=(REDEEM_CODE,),
    ),
)
