"""Mutations of signed manifests: what is written, and how those of strangers are read."""

from tests.mutants.mutation import Mutation

MARKING = "workers/gpu_worker/marking.py"
PROGRAM = "workers/imaging/c2pa_program.py"
READING = "tests/workers/imaging/test_c2pa_reading.py"
SIGNING = "tests/workers/imaging/test_c2pa_signing.py"
MARKS = "tests/workers/gpu_worker/test_marking.py"
C2PA = "tests/zekron_api/endpoints/test_c2pa.py"

MUTATIONS = (
    Mutation(
        name="manifests: a worker that cannot sign does not start",
        path="workers/gpu_worker/process.py",
        text="        marking.check()\n",
        without="",
        tests=(f"{MARKS}::test_a_certificate_that_has_ended_stops_the_start",),
    ),
    Mutation(
        name="manifests: nothing is fetched from where a file says",
        path=PROGRAM,
        text='"remote_manifest_fetch": False',
        without='"remote_manifest_fetch": True',
        tests=(f"{READING}::test_a_manifest_elsewhere_is_not_fetched",),
    ),
    Mutation(
        name="manifests: no thumbnail of the picture is added",
        path="workers/imaging/c2pa_signing.py",
        text='"thumbnail": {"enabled": False}',
        without='"thumbnail": {"enabled": True}',
        tests=(f"{SIGNING}::test_a_manifest_is_small_and_beside_all_that_the_file_had",),
    ),
    Mutation(
        name="manifests: what is carried over is bounded",
        path="workers/imaging/c2pa_reading.py",
        text="    return written if len(written) <= MAX_ARCHIVE_BYTES else b",
        without="    return written if True else b",
        tests=(f"{READING}::test_a_manifest_above_the_limit_is_not_carried_over",),
    ),
    Mutation(
        name="manifests: the one of a source is no part of a request's content",
        path="zekron_api/endpoints/create_generation.py",
        text="[source_manifest.split(content)[0] for content in",
        without="[content for content in",
        tests=(f"{C2PA}::test_a_retry_with_the_same_source_is_the_same_request",),
    ),
    Mutation(
        name="manifests: a mask is no ingredient",
        path="workers/gpu_worker/attempt.py",
        text="len(files) - bool(generation.parameters.get(masks.PARAMETER))",
        without="len(files)",
        tests=(f"{C2PA}::test_a_mask_is_no_ingredient",),
    ),
    Mutation(
        name="manifests: a valid one is not a trusted one",
        path="workers/imaging/c2pa_reading.py",
        text='        is_trusted=said["state"] == "Trusted",\n',
        without='        is_trusted=said["state"] != "Invalid",\n',
        tests=(f"{READING}::test_who_is_trusted_is_the_operators_choice",),
    ),
    Mutation(
        name="manifests: a local certificate signs for nobody else",
        path="zekron_api/config/signer_files.py",
        text="    if make_own is None:\n",
        without="    if False:\n",
        tests=(
            "tests/zekron_api/test_settings.py::test_signatures_without_the_operators_files_stop_the_start",
        ),
    ),
)
