"""Mutations of what staff may do and see, and of the steps after a restore."""

from tests.mutants.mutation import Mutation

REFUND = "tests/workers/lifecycle/test_generation_refund.py"
REFUND_PAGE = "tests/workers/test_admin_refund.py"
LOST = "tests/storage/test_lost_objects.py"
RESTORE = "tests/test_restore.py"
LOG = "tests/billing/test_staff_log.py"

MUTATIONS = (
    Mutation(
        name="refund: a generation is refunded once",
        path="workers/lifecycle/generation_refund.py",
        text="        request_id=_request_id(generation_id),\n    )",
        without="    )",
        tests=(f"{REFUND}::test_of_many_refunds_at_once_one_succeeds",),
    ),
    Mutation(
        name="refund: each generation has an id of its own",
        path="workers/lifecycle/generation_refund.py",
        text="uuid5(_NAMESPACE, str(generation_id))",
        without="_NAMESPACE",
        tests=(f"{REFUND}::test_a_second_refund_of_the_same_generation_is_refused_and_another_one_is_not",),
    ),
    Mutation(
        name="refund: staff need the permission",
        path="workers/admin.py",
        text=' and request.user.has_perm(f"workers.{act}_generation")',
        without="",
        tests=(f"{REFUND_PAGE}::test_without_both_permissions_nothing_is_refunded",),
    ),
    Mutation(
        name="staff: the log is append-only",
        path="billing/migrations/0025_staff_log.py",
        text="BEFORE UPDATE OR DELETE ON",
        without="BEFORE UPDATE ON",
        tests=(f"{LOG}::test_an_entry_is_never_changed_or_deleted",),
    ),
    Mutation(
        name="staff: whom the log names is not deleted",
        path="billing/admin/staff.py",
        text='''"""Allow nobody to delete, because the log names those who left. Superusers take `is_active` away."""
        return False''',
        without="return _is_superuser(request)",
        tests=(f"{LOG}::test_the_admin_offers_no_deletion_of_staff",),
    ),
    Mutation(
        name="export: no more rows than memory is planned for",
        path="billing/admin/export.py",
        text="if len(rows) > MAX_ROWS:",
        without="if False:",
        tests=("tests/billing/test_export.py::test_an_export_that_is_too_long_is_refused_in_words",),
    ),
    Mutation(
        name="restore: ids that clients know are left out",
        path="workers/management/commands/finish_restore.py",
        text="            restoration.skip_ids(count=skip_ids)\n",
        without="            pass\n",
        tests=(f"{RESTORE}::test_a_restored_service_shows_what_is_live_and_nothing_that_ended_since",),
    ),
    Mutation(
        name="restore: an image that expired is not lost",
        path="storage/lost_objects.py",
        text="wrapped_key__isnull=False, expires_at__gt=now)",
        without="wrapped_key__isnull=False)",
        tests=(f"{LOST}::test_an_expired_or_deleted_image_is_not_lost",),
    ),
    Mutation(
        name="restore: a folder is listed after the rows of a batch",
        path="storage/lost_objects.py",
        text="        folder, names = None, frozenset[str]()\n",
        without="        folder, names = (folder, names) if after else (None, frozenset[str]())\n",
        tests=(f"{LOST}::test_an_image_that_is_put_during_the_search_is_not_lost",),
    ),
)
