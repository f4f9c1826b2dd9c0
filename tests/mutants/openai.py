"""Mutations of OpenAI's API: what each request may ask for, what its reply has, and the form of its errors."""

from typing import Final

from tests.mutants.mutation import Mutation

SERIALIZERS: Final = "zekron_api/openai/request_serializers.py"
EVENTS: Final = "zekron_api/openai/image_events.py"
ERRORS: Final = "zekron_api/http/openai_errors.py"
CREATE_TESTS: Final = "tests/zekron_api/openai/test_create_image.py"
EDIT_TESTS: Final = "tests/zekron_api/openai/test_edit_image.py"
EVENT_TESTS: Final = "tests/zekron_api/openai/test_image_events.py"
ERROR_TESTS: Final = "tests/zekron_api/openai/test_errors.py"

MUTATIONS: Final = (
    Mutation(
        name="openai: a key of idempotency belongs to its path",
        path="zekron_api/endpoints/create_generation.py",
        text='return [*asked, f"route {route}"] if route else asked',
        without="return asked",
        tests=(CREATE_TESTS,),
    ),
    Mutation(
        name="openai: a field that is not supported is refused",
        path=SERIALIZERS,
        text="        if value is None:\n            raise SkipField\n",
        without="        raise SkipField\n",
        tests=(CREATE_TESTS,),
    ),
    Mutation(
        name="openai: partial images need a stream",
        path=SERIALIZERS,
        text='if attrs[PARTIAL_IMAGES] and not attrs["stream"]:',
        without="if False:",
        tests=(CREATE_TESTS,),
    ),
    Mutation(
        name="openai: an edit has an image",
        path=SERIALIZERS,
        text="        if value is None or value == []:\n",
        without="        if False:\n",
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="openai: no address is fetched or ignored",
        path=SERIALIZERS,
        text='not url.lower().startswith("data:")',
        without="False",
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="openai: the bytes are sent to those who asked for them",
        path="zekron_api/openai/image_response.py",
        text="if B64_JSON in content_kinds else {})",
        without="if True else {})",
        tests=(CREATE_TESTS,),
    ),
    Mutation(
        name="openai: a 409 that clients repeat is none",
        path=ERRORS,
        text="_STATUSES: Final = {409: 400}",
        without="_STATUSES: Final = dict[int, int]()",
        tests=(ERROR_TESTS,),
    ),
    Mutation(
        name="openai: the form is for its paths alone",
        path=ERRORS,
        text="isinstance(response, ErrorReply) and is_for(path)",
        without="isinstance(response, ErrorReply)",
        tests=(ERROR_TESTS,),
    ),
    Mutation(
        name="openai: an error after the wait has the form",
        path="zekron_api/middleware.py",
        text="            response.translate_error = openai_format.translate\n",
        without="            pass\n",
        tests=(CREATE_TESTS,),
    ),
    Mutation(
        name="openai: a failed image beside others ends no stream",
        path=EVENTS,
        text="        return SILENT_END\n",
        without="        return _build_last(generation_id=generation_id)\n",
        tests=(EVENT_TESTS,),
    ),
    Mutation(
        name="openai: a stream without an image ends with an error",
        path=EVENTS,
        text="        build_last=partial(_build_last, generation_id=first.pk),\n",
        without="",
        tests=(EVENT_TESTS,),
    ),
    Mutation(
        name="openai: a stream's place is asked for before its price is held",
        path="zekron_api/openai/views.py",
        text='        if fields["stream"]:\n            generation_events',
        without="        if False:\n            generation_events",
        tests=(EVENT_TESTS,),
    ),
    Mutation(
        name="openai: a form's fields occur once",
        path="zekron_api/openai/form_fields.py",
        text="    elif name in fields:\n        raise _occurs_twice(name)\n",
        without="",
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="openai: a form is whole",
        path="zekron_api/http/multipart_form.py",
        text="    if not reader.is_whole:\n",
        without="    if False:\n",
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="openai: the parts of a form are bounded",
        path="zekron_api/http/multipart_form.py",
        text="        if len(self.form) >= MAX_PARTS:\n",
        without="        if False:\n",
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="openai: the delimiters of a form are counted before it is read",
        path="zekron_api/http/multipart_form.py",
        text='    if content.count(b"\\r\\n--" + boundary) > MAX_PARTS + 1:\n',
        without="    if False:\n",
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="openai: a value of a form is bounded as that of a body",
        path="zekron_api/openai/form_fields.py",
        text='            return parse_value(text.encode("utf-8"))\n',
        without='            return __import__("json").loads(text)\n',
        tests=(EDIT_TESTS,),
    ),
    Mutation(
        name="models: an alias stands for a model of the file",
        path="workers/catalogue.py",
        text="if not isinstance(name, str) or name not in tables or name == ALIASES:",
        without="if False:",
        tests=("tests/workers/test_catalogue.py",),
    ),
)
