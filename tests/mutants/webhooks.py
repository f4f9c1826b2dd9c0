"""Mutations of webhooks: their addresses, their outbox, their deliveries and their signatures."""

from tests.mutants.mutation import Mutation

ADDRESSES = "workers/webhooks/addresses.py"
CLAIMS = "workers/webhooks/claims.py"
DELIVERIES = "workers/webhooks/deliveries.py"
ENDPOINTS = "workers/webhooks/endpoints.py"
OUTBOX = "workers/migrations/0019_webhook_events.py"
SENDING = "workers/webhooks/sending.py"
OF_ADDRESSES = "tests/workers/webhooks/test_addresses.py"
OF_CLAIMS = "tests/workers/webhooks/test_claims.py"
OF_DELIVERIES = "tests/workers/webhooks/test_deliveries.py"
OF_ENDPOINTS = "tests/workers/webhooks/test_endpoints.py"
OF_OUTBOX = "tests/workers/webhooks/test_outbox.py"
OF_SENDING = "tests/workers/webhooks/test_sending.py"
OF_SIGNING = "tests/workers/webhooks/test_signing.py"
OF_API = "tests/zekron_api/endpoints/test_webhooks.py"

MUTATIONS = (
    Mutation(
        name="webhooks: every address of a name is checked",
        path=ADDRESSES,
        text="is_public = all(is_global(address) for address in addresses)",
        without="is_public = any(is_global(address) for address in addresses)",
        tests=(f"{OF_ADDRESSES}::test_every_address_of_a_name_must_be_public",),
    ),
    Mutation(
        name="webhooks: this machine is not called unless a setting says so",
        path=ADDRESSES,
        text="if settings.WEBHOOK_ALLOW_LOOPBACK and all(_is_loopback(address) for address in addresses):",
        without="if all(_is_loopback(address) for address in addresses):",
        tests=(f"{OF_ADDRESSES}::test_every_address_of_a_name_must_be_public",),
    ),
    Mutation(
        name="webhooks: plain HTTP stays on this machine",
        path=ADDRESSES,
        text='if not is_public or target.scheme != "https" or target.port not in PORTS:',
        without="if not is_public:",
        tests=(
            f"{OF_SENDING}::test_a_public_address_is_not_called_in_plain_text_although_this_machine_may_be",
        ),
    ),
    Mutation(
        name="webhooks: no user name in an address",
        path=ADDRESSES,
        text="""    if "@" in found["authority"]:
        raise RefusedUrl("must not contain a user name or a password.")
    parts = _AUTHORITY.fullmatch(found["authority"])
""",
        without="""    parts = _AUTHORITY.fullmatch(found["authority"].rpartition("@")[2])
""",
        tests=(f"{OF_ADDRESSES}::test_a_url_that_no_webhook_may_have_is_refused_with_a_reason",),
    ),
    Mutation(
        name="webhooks: ports 443 and 8443 alone",
        path=ADDRESSES,
        text="if not settings.WEBHOOK_ALLOW_LOOPBACK and port not in PORTS:",
        without="if False:",
        tests=(f"{OF_ADDRESSES}::test_a_url_that_no_webhook_may_have_is_refused_with_a_reason",),
    ),
    Mutation(
        name="webhooks: no addresses of IPv6 beside global unicast",
        path=ADDRESSES,
        text="return address in _GLOBAL_V6 and not any(",
        without="return not any(",
        tests=(f"{OF_ADDRESSES}::test_an_address_outside_of_the_public_internet_is_refused",),
    ),
    Mutation(
        name="webhooks: a name is checked where it is named",
        path=ADDRESSES,
        text="""        raise RefusedUrl("must not lead to a private or reserved address.") from None
""",
        without="""        return
""",
        tests=(f"{OF_API}::test_what_cannot_be_honoured_is_refused_by_name",),
    ),
    Mutation(
        name="webhooks: the addresses are checked at each attempt",
        path=SENDING,
        text="            addresses.check(self._target, found)\n",
        without="",
        tests=(f"{OF_SENDING}::test_a_name_that_has_come_to_lead_here_is_not_called",),
    ),
    Mutation(
        name="webhooks: the checked address is called and not the name",
        path=SENDING,
        text="return await self._network.connect_tcp(str(found[-1]), port)",
        without="return await self._network.connect_tcp(host, port)",
        tests=(f"{OF_SENDING}::test_a_name_is_looked_up_once_and_the_checked_address_is_called",),
    ),
    Mutation(
        name="webhooks: the whole attempt has an end",
        path=SENDING,
        text="async with asyncio.timeout(TOTAL_SECONDS):",
        without="async with asyncio.timeout(None):",
        tests=(f"{OF_SENDING}::test_an_interim_reply_without_end_is_cut_off_too",),
    ),
    Mutation(
        name="webhooks: a redirect is a failure",
        path=SENDING,
        text="if 200 <= status < 300:",
        without="if 200 <= status < 400:",
        tests=(f"{OF_SENDING}::test_no_redirect_is_followed",),
    ),
    Mutation(
        name="webhooks: an event is in the transaction of an unpaid end",
        path="workers/lifecycle/generations.py",
        text="            outbox.write(generation_id=generation.pk, event_type=events.ENDS[target])\n",
        without="",
        tests=(f"{OF_OUTBOX}::test_each_end_writes_one_event_for_each_endpoint",),
    ),
    Mutation(
        name="webhooks: an endpoint gets what it subscribes to",
        path=OUTBOX,
        text="endpoint.is_enabled AND of_type = ANY(endpoint.events)",
        without="endpoint.is_enabled",
        tests=(f"{OF_OUTBOX}::test_an_endpoint_gets_what_it_subscribes_to_while_it_is_enabled",),
    ),
    Mutation(
        name="webhooks: a disabled endpoint gets nothing",
        path=OUTBOX,
        text="endpoint.is_enabled AND of_type",
        without="of_type",
        tests=(f"{OF_OUTBOX}::test_an_endpoint_gets_what_it_subscribes_to_while_it_is_enabled",),
    ),
    Mutation(
        name="webhooks: an address that is also an endpoint gets the event once",
        path=OUTBOX,
        text="AND twin.url = named_url AND",
        without="AND false AND",
        tests=(f"{OF_OUTBOX}::test_an_address_that_is_also_an_endpoint_gets_the_event_once",),
    ),
    Mutation(
        name="webhooks: a start is told once",
        path="workers/lifecycle/attempt_statements.py",
        text="CASE WHEN g.started_at = {NOW} THEN",
        without="CASE WHEN true THEN",
        tests=(f"{OF_OUTBOX}::test_a_generation_that_starts_tells_so_once_and_only_those_who_want_it",),
    ),
    Mutation(
        name="webhooks: a deletion is told once",
        path="workers/lifecycle/deletion.py",
        text="    if was_live:\n",
        without="    if True:\n",
        tests=(f"{OF_OUTBOX}::test_an_image_that_is_deleted_tells_so_once_and_an_expired_one_does_not",),
    ),
    Mutation(
        name="webhooks: the lease decides whose outcome counts",
        path=CLAIMS,
        text="(pk=delivery.pk, lease_token=delivery.lease_token)",
        without="(pk=delivery.pk)",
        tests=(f"{OF_CLAIMS}::test_a_lease_that_ends_without_a_record_makes_the_delivery_due_again",),
    ),
    Mutation(
        name="webhooks: four at once for an endpoint",
        path=CLAIMS,
        text="AND leased.lease_token IS NOT NULL AND leased.next_at > {NOW}",
        without="AND false",
        tests=(
            f"{OF_CLAIMS}::test_the_deliveries_of_one_endpoint_are_claimed_four_at_a_time_the_oldest_first",
        ),
    ),
    Mutation(
        name="webhooks: the endpoint is locked before its share is counted",
        path=CLAIMS,
        text="rows = locked.select_for_update(no_key=True, skip_locked=True).order_by",
        without="rows = locked.order_by",
        tests=(f"{OF_CLAIMS}::test_two_processes_that_claim_at_once_keep_the_share_of_an_endpoint",),
    ),
    Mutation(
        name="webhooks: failing endpoints leave room",
        path=CLAIMS,
        text="total, failing if failure_count else total)",
        without="total, total)",
        tests=(f"{OF_CLAIMS}::test_failing_endpoints_have_a_share_of_the_room_and_leave_the_rest_to_others",),
    ),
    Mutation(
        name="webhooks: one bad hour disables nothing",
        path=CLAIMS,
        text="failure_count__gte=MAX_FAILURES, failing_since__lte=now - MAX_FAILING",
        without="failure_count__gte=MAX_FAILURES",
        tests=(f"{OF_CLAIMS}::test_a_bad_hour_after_a_quiet_day_disables_nothing",),
    ),
    Mutation(
        name="webhooks: 410 disables",
        path=CLAIMS,
        text="if is_gone and not endpoint.is_default:",
        without="if False:",
        tests=(f"{OF_CLAIMS}::test_a_receiver_that_is_gone_is_disabled_and_nothing_waits_for_it_any_more",),
    ),
    Mutation(
        name="webhooks: an attempt that is under way is not replayed",
        path=DELIVERIES,
        text="filter(pk=delivery.pk, lease_token__isnull=True)",
        without="filter(pk=delivery.pk)",
        tests=(f"{OF_DELIVERIES}::test_what_is_being_sent_is_not_sent_twice_by_a_replay",),
    ),
    Mutation(
        name="webhooks: a disabled endpoint is sent nothing again",
        path=DELIVERIES,
        text="filter(pk=endpoint_id, is_enabled=True)",
        without="filter(pk=endpoint_id)",
        tests=(f"{OF_DELIVERIES}::test_a_disabled_endpoint_is_sent_nothing_again",),
    ),
    Mutation(
        name="webhooks: the former secret has an end",
        path=ENDPOINTS,
        text="endpoint.former_secret_until is not None and endpoint.former_secret_until > now",
        without="endpoint.former_secret_until is not None",
        tests=(f"{OF_SIGNING}::test_after_a_rotation_both_secrets_verify_until_the_end_of_the_overlap",),
    ),
    Mutation(
        name="webhooks: a deleted endpoint keeps no secret",
        path=ENDPOINTS,
        text="        SealedSecret.objects.filter(pk__in=[each for each in secret_ids if each]).delete()\n",
        without="",
        tests=(f"{OF_ENDPOINTS}::test_a_deleted_endpoint_has_no_secret_and_nothing_waits_for_it",),
    ),
    Mutation(
        name="webhooks: a foreign endpoint is not found",
        path=ENDPOINTS,
        text="filter(account_id=account_id, place__isnull=False)",
        without="filter(place__isnull=False)",
        tests=(f"{OF_API}::test_a_foreign_and_an_unknown_id_are_not_found",),
    ),
    Mutation(
        name="webhooks: no prompt unless it is wanted",
        path="zekron_api/endpoints/generation_object.py",
        text="    if not with_prompt:\n",
        without="    if False:\n",
        tests=(f"{OF_API}::test_the_data_of_an_event_is_what_the_api_says_of_the_generation",),
    ),
    Mutation(
        name="rotation: secrets are rewrapped too",
        path="storage/rotation.py",
        text="    for secret in _each(SealedSecret.objects.all()):\n",
        without="    for secret in _each(SealedSecret.objects.none()):\n",
        tests=(f"{OF_ENDPOINTS}::test_secrets_are_sealed_under_the_master_key_and_follow_its_rotation",),
    ),
)
