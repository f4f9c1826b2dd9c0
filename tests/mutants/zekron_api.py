"""Mutations of the API's door."""

from tests.mutants.mutation import Mutation

VIEWS = "zekron_api/endpoints/views.py"
ACCESS = "tests/zekron_api/endpoints/test_views.py"
KEYS = "tests/zekron_api/http/test_authentication.py"
AWAY = "tests/zekron_api/test_database_away.py"
LIMITS = "tests/zekron_api/http/test_rate_limit.py"
MIDDLEWARE = "zekron_api/middleware.py"
REPLIES = "tests/zekron_api/test_middleware.py"
READINESS = "zekron_api/ops/readiness.py"
SHARED = "tests/zekron_api/ops/test_readiness.py"
HEALTH = "tests/zekron_api/ops/test_health.py"
LOGINS = "zekron_api/http/login_limit.py"
GUESSES = "tests/zekron_api/http/test_login_limit.py"
WAITING_ROOM = "zekron_api/waiting/asgi_handler.py"
CONNECTION = "zekron_api/waiting/http_connection.py"
CONNECTIONS = "tests/zekron_api/waiting/test_http_connection.py"

MUTATIONS = (
    Mutation(
        name="an image is its account's alone",
        path=VIEWS,
        text="        if generation.account_id != self.account.pk:\n",
        without="        if False:\n",
        tests=(f"{ACCESS}::test_another_accounts_key_is_refused_and_an_unknown_token_is_not_found",),
    ),
    Mutation(
        name="an image ends at its time, whether or not it is purged",
        path=VIEWS,
        text="        if generation.expires_at <= timezone.now():\n",
        without="        if False:\n",
        tests=(f"{ACCESS}::test_an_expired_image_is_gone_from_that_instant_before_and_after_its_purge",),
    ),
    Mutation(
        name="an image whose key is gone is gone, too, for clients that have it",
        path="zekron_api/endpoints/image_download.py",
        text="    if image.wrapped_key is None:\n",
        without="    if False:\n",
        tests=("tests/zekron_api/endpoints/test_image_download.py",),
    ),
    Mutation(
        name="a part is sent only of the image that the client has",
        path="zekron_api/endpoints/image_download.py",
        text=' or request.headers.get("If-Range", tag) != tag:\n',
        without=":\n",
        tests=("tests/zekron_api/endpoints/test_image_download.py",),
    ),
    Mutation(
        name="only the API is for pages of other origins",
        path="zekron_api/settings.py",
        text='CORS_URLS_REGEX = r"^/(v1/|mcp$)"\n',
        without='CORS_URLS_REGEX = r"^/"\n',
        tests=("tests/zekron_api/http/test_cross_origin.py",),
    ),
    Mutation(
        name="a reply made outside the middleware is readable for allowed pages",
        path="zekron_api/waiting/asgi_handler.py",
        text="return cross_origin.add_headers(sending.with_length(translated), scope=scope)",
        without="return sending.with_length(translated)",
        tests=("tests/zekron_api/http/test_cross_origin.py",),
    ),
    Mutation(
        name="a field that asks for another image is refused",
        path="zekron_api/endpoints/unsupported_fields.py",
        text='    raise InvalidField("unsupported_parameter", _MESSAGES[field].format(name=name), field=name)\n',
        without="",
        tests=("tests/zekron_api/endpoints/test_unsupported_fields.py",),
    ),
    Mutation(
        name="another spelling of a field that asks for another image is refused",
        path="zekron_api/endpoints/serializers.py",
        text="        refuse_variants(self.initial_data, known=self.fields)\n",
        without="",
        tests=("tests/zekron_api/endpoints/test_unsupported_fields.py",),
    ),
    Mutation(
        name="a prompt has a visible character",
        path="zekron_api/endpoints/fields.py",
        text="        if not _VISIBLE.search(value):\n",
        without="        if not value.strip():\n",
        tests=("tests/zekron_api/endpoints/test_unsupported_fields.py",),
    ),
    Mutation(
        name="a suspended account is refused",
        path="zekron_api/http/authentication.py",
        text="    if live.account.status != Account.Status.ACTIVE:\n",
        without="    if False:\n",
        tests=(f"{ACCESS}::test_a_revoked_key_and_a_suspended_account_are_refused",),
    ),
    Mutation(
        name="the balance reads its key anew",
        path="zekron_api/http/authentication.py",
        text="    find_key = staticmethod(keys.authenticate)\n",
        without="    pass\n",
        tests=(
            f"{KEYS}::test_a_revocation_by_another_process_acts_within_five_seconds_and_shows_no_amount_meanwhile",
        ),
    ),
    Mutation(
        name="the rate is looked at and counted in one step",
        path="zekron_api/http/rate_limit.py",
        text="    admitted = limiter.hit(item, name)\n",
        without="    admitted = limiter.test(item, name)\n    limiter.hit(item, name)\n",
        tests=(
            f"{LIMITS}::test_of_1000_requests_at_once_from_two_processes_exactly_60_are_admitted",
            f"{LIMITS}::test_of_200_requests_at_once_over_http_exactly_60_are_served",
        ),
    ),
    Mutation(
        name="the metrics are for who has their token",
        path="zekron_api/ops/prometheus.py",
        text="    return same and ",
        without="    return ",
        tests=("tests/zekron_api/ops/test_prometheus.py::test_another_token_is_refused_in_the_envelope",),
    ),
    Mutation(
        name="a deploy waits for the clients that wait",
        path="Procfile",
        text=" --timeout-graceful-shutdown 110",
        without=" --timeout-graceful-shutdown 1",
        tests=(
            "tests/zekron_api/waiting/test_drain.py::test_clients_whose_turn_does_not_come_are_told_so_before_the_process_ends",
        ),
    ),
    Mutation(
        name="rediss: Celery verifies the server's certificate",
        path="zekron_api/settings.py",
        text="CELERY_BROKER_USE_SSL = redis_url.celery_tls(REDIS_URL)\n",
        without="",
        tests=("tests/zekron_api/config/test_redis_url.py",),
    ),
    Mutation(
        name="rediss: Celery verifies the server's host name",
        path="zekron_api/config/redis_url.py",
        text='"ssl_check_hostname": True',
        without='"ssl_check_hostname": False',
        tests=("tests/zekron_api/config/test_redis_url.py",),
    ),
    Mutation(
        name="a database that is away is a 503: the table",
        path="zekron_api/http/errors.py",
        text='    (OperationalError, 503, "service_unavailable", _UNAVAILABLE),\n',
        without="",
        tests=(AWAY,),
    ),
    Mutation(
        name="a database that is away is a 503: the admin",
        path="zekron_api/http/errors.py",
        text="    if not isinstance(error, DATABASE_UNAVAILABLE):\n",
        without="    if True:\n",
        tests=(AWAY,),
    ),
    Mutation(
        name="a database that is away is a 503: who waits learns what was accepted",
        path="zekron_api/endpoints/generation_response.py",
        text="    except errors.DATABASE_UNAVAILABLE as cause:\n",
        without="    except ZeroDivisionError as cause:\n",
        tests=(AWAY,),
    ),
    Mutation(
        name="a thread that breaks: a message that is no id is passed over",
        path="zekron_api/waiting/completion_waiters.py",
        text="            elif text.isdigit() and len(text) <= MAX_ID_DIGITS:\n",
        without="            elif True:\n",
        tests=(
            "tests/zekron_api/waiting/test_asgi_handler.py::test_a_message_that_is_no_id_ends_no_subscription",
        ),
    ),
    Mutation(
        name="a thread that breaks: listener and poll are run again",
        path="workers/messaging/background.py",
        text="            if task is None or task.cancelling() or not",
        without="            if True or not",
        tests=(
            "tests/zekron_api/waiting/test_asgi_handler.py::"
            "test_neither_the_listener_nor_the_poll_ends_by_an_error_that_nobody_expected",
        ),
    ),
    Mutation(
        name="an offer of another protocol hides no body",
        path=CONNECTION,
        text="            self._parse_without_offer()\n",
        without="            pass\n",
        tests=(f"{CONNECTIONS}::test_what_follows_an_offer_in_the_same_write_is_the_next_request",),
    ),
    Mutation(
        name="an offer is ignored before its request starts",
        path=CONNECTION,
        text="            super().on_headers_complete()\n",
        without="            pass\n        super().on_headers_complete()\n        if True:\n",
        tests=(f"{CONNECTIONS}::test_what_follows_an_offer_in_the_same_write_is_the_next_request",),
    ),
    Mutation(
        name="a half-close is not the end of a client",
        path=CONNECTION,
        text="        return self._end_requests()\n",
        without="        return False\n",
        tests=(f"{CONNECTIONS}::test_a_client_that_closes_its_sending_side_gets_its_reply",),
    ),
    Mutation(
        name="a request that a half-close cuts off is dropped",
        path=CONNECTION,
        text="            self.pipeline.popleft()\n",
        without="",
        tests=(f"{CONNECTIONS}::test_a_request_that_a_half_close_cuts_off_is_not_served",),
    ),
    Mutation(
        name="nonsense after a request does not take its reply",
        path=CONNECTION,
        text="        if self._end_requests():\n            return\n",
        without="        self._end_requests()\n",
        tests=(
            f"{CONNECTIONS}::test_a_paid_reply_comes_although_the_client_sent_nonsense_after_its_request",
        ),
    ),
    Mutation(
        name="a health check is answered before the host is looked at",
        path="zekron_api/settings.py",
        text='    "zekron_api.middleware.health_probes",\n',
        without="",
        tests=(
            f"{HEALTH}::test_a_health_check_is_answered_whatever_host_it_names_and_without_a_line_in_the_log",
        ),
    ),
    Mutation(
        name="a refused host leaves no traceback",
        path="zekron_api/settings.py",
        text='{"filters": ["without_traceback"]}',
        without="{}",
        tests=(f"{HEALTH}::test_another_request_that_names_an_unknown_host_is_told_so_and_leaves_one_line",),
    ),
    Mutation(
        name="anonymous requests have threads of their own",
        path=WAITING_ROOM,
        text="        if (lane := self._open_lanes.find(scope)) is not None:\n",
        without="        if (lane := None) is not None:\n",
        tests=(
            f"{HEALTH}::test_the_request_lane_being_full_delays_no_health_check",
            f"{GUESSES}::test_logins_that_hash_take_one_thread_of_their_own",
        ),
    ),
    Mutation(
        name="a check that runs is shared",
        path=READINESS,
        text="            if running and (not running.done() or ",
        without="            if running and (",
        tests=(f"{SHARED}::test_all_who_ask_meanwhile_share_one_check",),
    ),
    Mutation(
        name="the result of a check is shared for a second",
        path=READINESS,
        text=" or self._is_fresh()):",
        without="):",
        tests=(f"{SHARED}::test_a_result_is_fresh_for_a_second_and_no_longer",),
    ),
    Mutation(
        name="the list of workers is shared for less than a second",
        path=READINESS,
        text="min(FRESH_SECONDS, self._shared_seconds)",
        without="FRESH_SECONDS",
        tests=(f"{SHARED}::test_a_result_that_is_shared_for_less_than_a_second_is_checked_again_sooner",),
    ),
    Mutation(
        name="a check without an answer has failed",
        path=READINESS,
        text="            return self._without_answer if is_overdue else self._last\n",
        without="            return self._last\n",
        tests=(
            f"{SHARED}::test_a_check_without_an_answer_counts_as_failed_after_five_seconds_and_is_not_repeated",
        ),
    ),
    Mutation(
        name="a check that raises anything ends",
        path=READINESS,
        text="            future.set_result(result)\n",
        without="        future.set_result(self._check())\n",
        tests=(f"{SHARED}::test_a_check_that_raises_anything_failed_and_the_next_one_is_made",),
    ),
    Mutation(
        name="a check closes its database connection",
        path=READINESS,
        text="            connections.close_all()\n",
        without="",
        tests=(f"{SHARED}::test_a_check_leaves_no_database_connection_behind",),
    ),
    Mutation(
        name="logins have a limit by address",
        path=LOGINS,
        text="settings.LOGINS_PER_MINUTE_OF_ADDRESS, ",
        without="1000, ",
        tests=(f"{GUESSES}::test_an_address_has_its_limit_whatever_names_it_tries",),
    ),
    Mutation(
        name="logins have a limit by name",
        path=LOGINS,
        text="settings.LOGINS_PER_MINUTE_OF_NAME, ",
        without="1000, ",
        tests=(f"{GUESSES}::test_a_name_has_its_limit_whatever_addresses_try_it",),
    ),
    Mutation(
        name="logins have a limit in all",
        path=LOGINS,
        text="settings.LOGINS_PER_MINUTE, ",
        without="1000, ",
        tests=(f"{GUESSES}::test_all_logins_together_have_a_limit",),
    ),
    Mutation(
        name="an IPv6 client is its network",
        path=LOGINS,
        text="_IPV6_PREFIX_BITS: Final = 64\n",
        without="_IPV6_PREFIX_BITS: Final = 128\n",
        tests=(f"{GUESSES}::test_the_addresses_of_one_client_count_as_one",),
    ),
    Mutation(
        name="the lockout counts an IPv6 client as its network",
        path="zekron_api/people/adapter.py",
        text='return {"address": login_limit.address_of(request), "name": name}',
        without='return {"address": client_address.read(request), "name": name}',
        tests=(f"{GUESSES}::test_a_lockout_of_an_ipv6_client_holds_for_its_network",),
    ),
    Mutation(
        name="a login without the token of its form is not counted",
        path="zekron_api/settings.py",
        text='    "django.middleware.csrf.CsrfViewMiddleware",\n    "zekron_api.people.limits.LoginLimit",\n',
        without='    "zekron_api.people.limits.LoginLimit",\n    "django.middleware.csrf.CsrfViewMiddleware",\n',
        tests=(f"{GUESSES}::test_neither_the_form_nor_a_post_without_its_token_counts",),
    ),
    Mutation(
        name="every reply has a length",
        path="zekron_api/waiting/sending.py",
        text='        response.headers.setdefault("Content-Length", str(len(response.content)))\n',
        without="        pass\n",
        tests=(f"{REPLIES}::test_every_reply_has_a_length",),
    ),
    Mutation(
        name="the redirect to HTTPS keeps a POST a POST",
        path=MIDDLEWARE,
        text="            response.status_code = 308\n",
        without="            pass\n",
        tests=(f"{REPLIES}::test_the_redirect_to_https_keeps_the_method_and_has_a_length",),
    ),
    Mutation(
        name="a web process that answers health checks has its routes",
        path="zekron_api/asgi.py",
        text="get_resolver().check()\n",
        without="",
        tests=("tests/zekron_api/test_asgi.py",),
    ),
)
