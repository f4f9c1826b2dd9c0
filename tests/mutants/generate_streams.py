"""Mutations of the create whose reply is a stream: who gets one, what it costs, and what a lost client is owed."""

from tests.mutants.mutation import Mutation

EVENTS = "zekron_api/endpoints/generation_events.py"
GENERATE = "zekron_api/endpoints/generate.py"
ROOM = "zekron_api/waiting/asgi_handler.py"
STREAM = "zekron_api/waiting/event_stream.py"
TESTS = "tests/zekron_api/waiting/test_generate_streams.py"
LOST = f"{TESTS}::test_a_retry_of_a_client_that_was_lost_goes_on_with_its_stream"

MUTATIONS = (
    Mutation(
        name="streams of a create: nobody gets one for a wildcard",
        path=EVENTS,
        text="return is_named and request",
        without="return request",
        tests=(f"{TESTS}::test_nobody_gets_events_unasked",),
    ),
    Mutation(
        name="streams of a create: nobody gets one who prefers JSON",
        path=EVENTS,
        text="return is_named and request.get_preferred_type([_JSON, _EVENTS]) == _EVENTS",
        without="return is_named",
        tests=(f"{TESTS}::test_nobody_gets_events_unasked",),
    ),
    Mutation(
        name="streams of a create: the place is asked for before the hold",
        path=GENERATE,
        text="            generation_events.refuse_without_place(request, account_id=self.account.pk)\n",
        without="            pass\n",
        tests=(f"{TESTS}::test_a_stream_without_a_place_is_refused_before_anything_is_held",),
    ),
    Mutation(
        name="streams of a create: what is accepted is not refused for its place",
        path=STREAM,
        text="self.is_admitted = asker is not None",
        without="self.is_admitted = False",
        tests=(f"{TESTS}::test_an_accepted_stream_is_never_refused_for_its_place",),
    ),
    Mutation(
        name="streams of a create: a deleted image is 410",
        path=GENERATE,
        text="        if wish.wants_events and not generation_response.is_expired(accepted.created.generation):\n",
        without="        if wish.wants_events:\n",
        tests=(f"{TESTS}::test_the_replay_of_a_deleted_one_is_410_and_never_a_new_charge",),
    ),
    Mutation(
        name="streams of a create: the database may go away after the acceptance",
        path=GENERATE,
        text="        except errors.DATABASE_UNAVAILABLE as cause:\n",
        without="        except ZeroDivisionError as cause:\n",
        tests=(f"{TESTS}::test_a_database_that_goes_away_after_the_acceptance_leaves_the_id",),
    ),
    Mutation(
        name="202: the database may go away after the acceptance",
        path="zekron_api/endpoints/accepted_response.py",
        text="    except errors.DATABASE_UNAVAILABLE as cause:\n",
        without="    except ZeroDivisionError as cause:\n",
        tests=(f"{TESTS}::test_a_database_that_goes_away_after_the_acceptance_leaves_the_id",),
    ),
    Mutation(
        name="streams of a create: a client without the last event is lost",
        path=ROOM,
        text="            if not await self.streams.serve(response, scope=scope, receive=receive, send=send):\n",
        without="            if await self.streams.serve(response, scope=scope, receive=receive, send=send):\n",
        tests=(LOST,),
    ),
    Mutation(
        name="streams of a create: a half-close may be a loss",
        path=ROOM,
        text="        await half_close.event_of(scope).wait()\n        await self._note_lost(response)\n",
        without="        await half_close.event_of(scope).wait()\n",
        tests=(LOST,),
    ),
    Mutation(
        name="lost clients: each is noted once",
        path=ROOM,
        text="        on_lost, response.on_lost = response.on_lost, None\n",
        without="        on_lost = response.on_lost\n",
        tests=(LOST,),
    ),
    Mutation(
        name="streams of a create: a server that stops waits for them",
        path=STREAM,
        text=" and time.monotonic() >= self._stays_until",
        without="",
        tests=(f"{TESTS}::test_a_server_that_stops_waits_for_it_as_for_those_who_wait",),
    ),
    Mutation(
        name="streams of a create: no time of waiting is applied",
        path=GENERATE,
        text="    if preference.wait_seconds is not None and not wants_events:\n",
        without="    if preference.wait_seconds is not None:\n",
        tests=(f"{TESTS}::test_it_counts_as_the_request_that_it_is",),
    ),
)
