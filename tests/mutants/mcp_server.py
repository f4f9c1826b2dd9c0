"""Mutations of the tools for agents, and of the requests that the service makes to itself."""

from tests.mutants.mutation import Mutation

TOOLS = "zekron_api/mcp_server/tools.py"
VIEW = "zekron_api/mcp_server/view.py"
PICTURES = "zekron_api/mcp_server/pictures.py"
PROTOCOL = "zekron_api/mcp_server/protocol.py"
OWN = "zekron_api/waiting/own_requests.py"
TESTS = "tests/zekron_api/mcp_server/"
OWN_TESTS = "tests/zekron_api/waiting/test_own_requests.py::"
KEEPS_NOTHING = f"{OWN_TESTS}test_a_call_that_waits_keeps_none_of_the_images_that_it_sent"

MUTATIONS = (
    Mutation(
        name="an agent's repeated call has the key of the first",
        path=TOOLS,
        text='                **({} if key is None else {"Idempotency-Key": key}),\n',
        without="",
        tests=(
            f"{TESTS}test_tools.py::"
            "test_the_same_key_twice_is_one_charge_and_another_request_under_it_is_refused",
        ),
    ),
    Mutation(
        name="an agent's unknown argument is refused before it pays",
        path=TOOLS,
        text='        request.refuse_others(tool.arguments()["properties"])\n',
        without="",
        tests=(
            f"{TESTS}test_tools.py::test_what_a_tool_cannot_take_is_an_error_of_the_tool_and_costs_nothing",
        ),
    ),
    Mutation(
        name="an agent's source image gives its slot back before the edit waits",
        path=TOOLS,
        text='query="include=b64_json", keeps_slot=False)',
        without='query="include=b64_json", keeps_slot=True)',
        tests=(f"{OWN_TESTS}test_the_image_of_a_source_holds_no_slot_during_the_edit",),
    ),
    Mutation(
        name="an agent's images pass beside the SDK",
        path=VIEW,
        text='    params["arguments"] = {}\n    return arguments\n',
        without="    return dict(arguments)\n",
        tests=(KEEPS_NOTHING,),
    ),
    Mutation(
        name="an agent's images are not kept during the wait: the list",
        path=TOOLS,
        text="    del images\n    return await _make(request, body)\n",
        without="    return await _make(request, body)\n",
        tests=(KEEPS_NOTHING,),
    ),
    Mutation(
        name="an agent's images are not kept during the wait: the body",
        path=OWN,
        text="            body.clear()\n",
        without="",
        tests=(KEEPS_NOTHING,),
    ),
    Mutation(
        name="an own request keeps the slot of its reply until the client has read",
        path=OWN,
        text="            await self._is_released.wait()\n",
        without="            self._is_sent = True\n",
        tests=(f"{OWN_TESTS}test_a_reply_keeps_its_slot_until_the_client_has_read_what_was_made_of_it",),
    ),
    Mutation(
        name="an own request tells the server that its client got nothing",
        path=OWN,
        text="            if not self._is_sent:\n",
        without="            if False:\n",
        tests=(f"{OWN_TESTS}test_the_server_learns_whether_the_client_got_its_response",),
    ),
    Mutation(
        name="an own request has the connection of its client",
        path=OWN,
        text="        message: dict[str, Any] = await self._receive_of_client()\n",
        without="        message: dict[str, Any] = await asyncio.get_running_loop().create_future()\n",
        tests=(
            f"{TESTS}test_tools.py::"
            "test_a_client_that_leaves_in_mid_call_reads_its_generation_or_repeats_the_call",
        ),
    ),
    Mutation(
        name="messages of agents have a limit",
        path=VIEW,
        text="    rate_scope = rate_limit.Scope.MESSAGES\n",
        without="",
        tests=(f"{TESTS}test_view.py::test_messages_have_a_limit_of_their_own",),
    ),
    Mutation(
        name="the SDK of agents is not imported at the start",
        path=VIEW,
        text="from zekron_api.mcp_server.call import Call\n",
        without="from zekron_api.mcp_server import protocol\nfrom zekron_api.mcp_server.call import Call\n",
        tests=("tests/zekron_api/test_asgi.py::test_a_web_process_starts_without_the_sdk_of_agents",),
    ),
    Mutation(
        name="an unexpected error tells agents nothing of itself",
        path=PROTOCOL,
        text="    except Exception as error:  # noqa: BLE001",
        without="    except ClientLeft as error:  # noqa: BLE001",
        tests=(f"{TESTS}test_tools.py::test_an_error_that_nobody_expected_says_nothing_of_itself",),
    ),
    Mutation(
        name="an agent's source images are counted before one is fetched",
        path=TOOLS,
        text="    refuse_more_than_any_model_takes(images)\n",
        without="",
        tests=(f"{TESTS}test_tools.py",),
    ),
    Mutation(
        name="an unforeseen error of a composed response is in the envelope",
        path="zekron_api/waiting/asgi_handler.py",
        text="                reply = errors.reply_to(error)\n",
        without="                raise\n",
        tests=(f"{TESTS}test_view.py::test_an_unforeseen_error_is_in_the_envelope_too",),
    ),
    Mutation(
        name="an image in a result has at most a megabyte of text",
        path=PICTURES,
        text="            if len(file) <= MAX_FILE_BYTES:\n",
        without="            if file:\n",
        tests=(f"{TESTS}test_pictures.py",),
    ),
    Mutation(
        name="a smaller image in a result keeps the mark that it was generated",
        path=PICTURES,
        text="Encoding(OutputFormat.WEBP, quality), xmp=xmp)",
        without="Encoding(OutputFormat.WEBP, quality))",
        tests=(f"{TESTS}test_pictures.py",),
    ),
)
