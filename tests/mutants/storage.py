"""Mutations of sealed bytes."""

from tests.mutants.mutation import Mutation

IMAGES = "storage/images.py"
ENVELOPE = "tests/storage/test_envelope.py"
ORPHANS = "tests/storage/test_orphans.py"
POOLING = "tests/storage/postgresql/test_pooling.py"
WEB_IDENTITY = "tests/storage/test_web_identity.py"

MUTATIONS = (
    Mutation(
        name="the seal's tag is checked",
        path="storage/a256cbc_hs512.py",
        text="    if not hmac.compare_digest(_tag(mac_key, associated, iv, ciphertext), tag):\n",
        without="    if False:\n",
        tests=(
            "tests/storage/test_a256cbc_hs512.py::test_only_the_right_tag_is_accepted_whichever_bit_differs",
        ),
    ),
    Mutation(
        name="the seal holds what it belongs to",
        path="storage/envelope.py",
        text="fields = (header, associated_data.encode(), byte_count",
        without="fields = (header, byte_count",
        tests=(f"{ENVELOPE}::test_whatever_the_row_says_otherwise_is_refused",),
    ),
    Mutation(
        name="the algorithm comes from the row",
        path="storage/envelope.py",
        text="    if algorithm != ALGORITHM or not",
        without="    if not",
        tests=(f"{ENVELOPE}::test_another_algorithm_is_refused_even_where_row_and_object_agree_on_it",),
    ),
    Mutation(
        name="the purge destroys the key first",
        path=IMAGES,
        text="    _refuse_open_transaction()\n    _destroy_expired_keys(now)\n",
        without="""    _refuse_open_transaction()
    for image in StoredImage.objects.filter(wrapped_key__isnull=False, expires_at__lte=now):
        _delete_object(image)
    _destroy_expired_keys(now)
""",
        tests=(
            "tests/storage/test_purges_at_once.py::test_the_key_is_destroyed_and_committed_before_the_bytes_are_touched",
        ),
    ),
    Mutation(
        name="the purge leaves alone what has not expired",
        path=IMAGES,
        text="filter(wrapped_key__isnull=False, expires_at__lte=now)",
        without="filter(wrapped_key__isnull=False)",
        tests=("tests/storage/test_purge.py::test_an_unexpired_image_is_left_alone",),
    ),
    Mutation(
        name="the key is read after the object, from the table",
        path=IMAGES,
        text="    row = plain_sql.instance(StoredImage, rows[0])\n",
        without="    row = image\n",
        tests=(
            "tests/storage/test_images.py::test_a_row_read_before_its_key_was_destroyed_loads_nothing_after",
        ),
    ),
    Mutation(
        name="a recorded image is not discarded",
        path=IMAGES,
        text="    if StoredImage.objects.filter(object_key=image.object_key, purged_at__isnull=True).exists():\n",
        without="    if False:\n",
        tests=("tests/storage/test_images.py::test_a_recorded_image_cannot_be_discarded",),
    ),
    Mutation(
        name="an orphan gets a tombstone before it is deleted",
        path="storage/orphans.py",
        text="    return not recordable or images.write_tombstone(object_key=name, now=run.now)\n",
        without="    return True\n",
        tests=(f"{ORPHANS}::test_who_records_an_object_after_its_removal_is_refused",),
    ),
    Mutation(
        name="what may still be recorded is no orphan",
        path="storage/orphans.py",
        text="    if run.store.get_modified_time(name) > run.cutoff:\n",
        without="    if False:\n",
        tests=(f"{ORPHANS}::test_an_object_that_nobody_recorded_goes_once_it_is_old_enough",),
    ),
    Mutation(
        name="purge: objects that hang delay no other",
        path="storage/deletions.py",
        text="MAX_AT_ONCE: Final = 8",
        without="MAX_AT_ONCE: Final = 1",
        tests=(
            "tests/storage/test_purge.py::test_objects_whose_deletion_hangs_delay_no_other",
            "tests/storage/test_orphans.py::test_orphans_whose_deletion_hangs_delay_no_other",
        ),
    ),
    Mutation(
        name="purge: objects that failed before come last",
        path=IMAGES,
        text="_without_key().exclude(pk__in=delayed_ids), _without_key().filter(pk__in=delayed_ids)",
        without="_without_key(),",
        tests=("tests/storage/test_purge.py::test_objects_that_fail_are_tried_after_all_others",),
    ),
    Mutation(
        name="a silent PostgreSQL: every wait has an end",
        path="storage/postgresql/base.py",
        text="            return super().wait(gen, interval, seconds)\n",
        without="            return super().wait(gen, interval, timeout)\n",
        tests=("tests/storage/postgresql/test_base.py",),
    ),
    Mutation(
        name="a silent PostgreSQL: a health check ends soon",
        path="storage/postgresql/base.py",
        text="        with time_limits.waiting_at_most(seconds=time_limits.HEALTH_CHECK_SECONDS):\n",
        without="        if True:\n",
        tests=("tests/storage/postgresql/test_base.py",),
    ),
    Mutation(
        name="a silent PostgreSQL: the server's own limits",
        path="storage/postgresql/time_limits.py",
        text='    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,\n',
        without='    "idle_session_timeout": IDLE_IN_TRANSACTION_SECONDS,\n',
        tests=("tests/storage/postgresql/test_base.py",),
    ),
    Mutation(
        name="PgBouncer: long statements pass by",
        path="storage/postgresql/pooling.py",
        text="for name, value in parameters.items() if name not in of_the_pool}",
        without="for name, value in parameters.items()}",
        tests=(
            "tests/zekron_api/config/test_database_url.py::test_long_statements_know_nothing_of_the_pool",
        ),
    ),
    Mutation(
        name="PgBouncer: no cursor outlives a lent session",
        path="storage/postgresql/base.py",
        text="return self.cursor() if self._is_lent else super().chunked_cursor()",
        without="return super().chunked_cursor()",
        tests=(f"{POOLING}::test_rows_that_come_in_pieces_do_not_depend_on_one_session",),
    ),
    Mutation(
        name="PgBouncer: a session without PostgreSQL is none",
        path="storage/postgresql/base.py",
        text="                pooling.check(made)\n",
        without="                pass\n",
        tests=(f"{POOLING}::test_a_postgresql_that_is_away_behind_it_counts_as_away_until_it_is_back",),
    ),
    Mutation(
        name="PgBouncer: a migration limits the role",
        path="storage/apps.py",
        text="        pooling.limit_role()\n",
        without="        pass\n",
        tests=(f"{POOLING}::test_sessions_without_limits_are_logged_once_and_a_migration_gives_them_back",),
    ),
    Mutation(
        name="a missing file of credentials is no missing object",
        path="storage/s3_store.py",
        text="    except (BotoCoreError, OSError) as error:\n",
        without="    except BotoCoreError as error:\n",
        tests=(f"{WEB_IDENTITY}::test_a_token_that_is_gone_is_a_failure_of_the_store_and_no_missing_object",),
    ),
    Mutation(
        name="a silent PostgreSQL: one thread at a time tries again",
        path="storage/postgresql/availability.py",
        text="if self._is_away and (self._is_tried or self._clock() < self._try_at):",
        without="if self._is_away and self._clock() < self._try_at:",
        tests=("tests/storage/postgresql/test_availability.py",),
    ),
    Mutation(
        name="a silent PostgreSQL: one line says that it is away",
        path="storage/postgresql/availability.py",
        text="        if error and not was_away:\n",
        without="        if error:\n",
        tests=("tests/storage/postgresql/test_availability.py",),
    ),
    Mutation(
        name="no more is read of an object than its row says",
        path=IMAGES,
        text="file.read(image.byte_count + envelope.MAX_OVERHEAD_BYTE_COUNT)",
        without="file.read()",
        tests=("tests/storage/test_images.py::test_what_was_stored_is_loaded",),
    ),
)
