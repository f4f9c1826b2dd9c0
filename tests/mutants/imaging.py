"""Mutations of the reader of source images."""

from tests.mutants.mutation import Mutation

SOURCES = "workers/imaging/source_images.py"
PNG = "workers/imaging/png_chunks.py"
JPEG = "workers/imaging/jpeg_segments.py"
PROFILE = "workers/imaging/icc_profile.py"
CONTAINERS = "workers/imaging/containers.py"
TESTS = "tests/workers/imaging"
VERIFY = "tests/zekron_api/endpoints/test_verify.py"
FORMATS = "tests/zekron_api/endpoints/test_output_fields.py"
MASKS = "tests/zekron_api/endpoints/test_masks.py"
KEPT_LATENTS = "workers/pipelines/diffusers/kept_latents.py"
KEPT = "tests/workers/pipelines/diffusers/test_kept_latents.py"

MUTATIONS = (
    Mutation(
        name="source images: the size is checked before any pixel is read",
        path=SOURCES,
        text="    if width * height > MAX_PIXELS:\n",
        without="    if False:\n",
        tests=(f"{TESTS}/test_source_images.py::test_a_bomb_is_refused_where_warnings_are_only_printed",),
    ),
    Mutation(
        name="source images: pixels in work are within the budget",
        path=SOURCES,
        text="picture_count * _bytes_of_work(pixels)\n",
        without="0\n",
        tests=(f"{TESTS}/test_memory_budget.py",),
    ),
    Mutation(
        name="source images: a large picture that waits is not overtaken",
        path="workers/imaging/memory_budget.py",
        text="        with self._turn, self._freed:\n",
        without="        with self._freed:\n",
        tests=(f"{TESTS}/test_memory_budget.py::test_small_pictures_do_not_overtake_a_large_one_that_waits",),
    ),
    Mutation(
        name="source images: scans are limited",
        path=SOURCES,
        text="min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height))",
        without="MAX_SCANNED_PIXELS // (image.width * image.height)",
        tests=(f"{TESTS}/test_jpeg_segments.py",),
    ),
    Mutation(
        name="source images: scans of a large picture are limited further",
        path=SOURCES,
        text="min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height))",
        without="MAX_SCANS",
        tests=(f"{TESTS}/test_jpeg_segments.py",),
    ),
    Mutation(
        name="source images: a JPEG without an end has all of its pixels",
        path=SOURCES,
        text="        if any(ImageChops.difference(picture, other).getbbox() for other in others):\n",
        without="        if False:\n",
        tests=(f"{TESTS}/test_jpeg_segments.py",),
    ),
    Mutation(
        name="source images: a JPEG without an end has all of its scans",
        path=JPEG,
        text='    return _ENDINGS if _has_all_scans(segments) else (b"",)\n',
        without="    return _ENDINGS\n",
        tests=(f"{TESTS}/test_jpeg_segments.py",),
    ),
    Mutation(
        name="source images: the segments of a JPEG are limited",
        path=JPEG,
        text="        if count > MAX_PARTS:\n",
        without="        if False:\n",
        tests=(f"{TESTS}/test_jpeg_segments.py",),
    ),
    Mutation(
        name="source images: a JPEG ends at its end marker",
        path=JPEG,
        text="            yield Segment(marker, found[0])\n            return\n",
        without="            yield Segment(marker, found[0])\n            continue\n",
        tests=(f"{TESTS}/test_jpeg_segments.py",),
    ),
    Mutation(
        name="source images: the chunks of a PNG are limited",
        path=PNG,
        text="        if count > MAX_PARTS:\n",
        without="        if False:\n",
        tests=(f"{TESTS}/test_png_chunks.py",),
    ),
    Mutation(
        name="source images: a PNG ends at IEND or at the first bytes that are no chunk",
        path=PNG,
        text='        if kind == b"IEND" or not kind.isalpha():\n',
        without='        if kind == b"IEND":\n',
        tests=(f"{TESTS}/test_png_chunks.py",),
    ),
    Mutation(
        name="source images: header, palette and transparency are intact",
        path=PNG,
        text="    if is_first != is_header or not chunk.is_intact:\n",
        without="    if is_first != is_header:\n",
        tests=(f"{TESTS}/test_png_chunks.py",),
    ),
    Mutation(
        name="source images: broken metadata does not count",
        path=PNG,
        text="        elif chunk.is_intact:\n",
        without="        else:\n",
        tests=(f"{TESTS}/test_png_chunks.py", f"{TESTS}/test_orientation.py"),
    ),
    Mutation(
        name="source images: compressed metadata is inflated to a limit",
        path=PNG,
        text="decompress(data, max_bytes)",
        without="decompress(data)",
        tests=(f"{TESTS}/test_png_chunks.py",),
    ),
    Mutation(
        name="source colours: a table of a profile fits into its tag",
        path=PROFILE,
        text="* tag[9] * _TABLES[kind] <= byte_count",
        without="* tag[9] * _TABLES[kind] >= 0",
        tests=(f"{TESTS}/test_colour.py::test_a_table_without_its_bytes_is_never_given_to_the_library",),
    ),
    Mutation(
        name="source colours: a newer table of a profile fits into its tag",
        path=PROFILE,
        text="* tag[9] * bytes_each[0] <= len(tag)",
        without="* tag[9] * bytes_each[0] >= 0",
        tests=(f"{TESTS}/test_colour.py::test_a_table_without_its_bytes_is_never_given_to_the_library",),
    ),
    Mutation(
        name="source colours: a PNG that says sRGB is not converted by its gamma",
        path="workers/imaging/colour.py",
        text="    if tags.is_srgb or ",
        without="    if ",
        tests=(f"{TESTS}/test_colour.py::test_the_chunks_of_a_png_count_in_the_order_of_its_specification",),
    ),
    Mutation(
        name="source colours: the first of two profiles of a PNG counts",
        path=PNG,
        text="colours.setdefault(chunk.kind, bytes(chunk.data))",
        without="colours[chunk.kind] = bytes(chunk.data)",
        tests=(f"{TESTS}/test_colour.py::test_the_first_of_two_chunks_counts",),
    ),
    Mutation(
        name="colours of 16 bits are converted with their low bytes",
        path="workers/imaging/flatten.py",
        text="low=low if is_exact else None",
        without="low=None",
        tests=(f"{TESTS}/test_deep_colours.py::test_sixteen_bits_of_colours_keep_their_dark_levels",),
    ),
    Mutation(
        name="the exact conversion of 16 bits has a limit",
        path="workers/imaging/flatten.py",
        text="image.width * image.height <= MAX_DEEP_PIXELS",
        without="True",
        tests=(
            f"{TESTS}/test_deep_colours.py::test_of_a_large_picture_of_sixteen_bits_the_high_bytes_are_converted",
        ),
    ),
    Mutation(
        name="source colours: the low bytes of a transparent colour count",
        path="workers/imaging/transparency.py",
        text="    return ImageChops.lighter(of_high, _opacity_of(low, file.transparent))\n",
        without="    return of_high\n",
        tests=(f"{TESTS}/test_transparency.py",),
    ),
    Mutation(
        name="source images: the pieces of a GIF's metadata are limited",
        path="workers/imaging/gif_blocks.py",
        text="MAX_PIECES: Final = 20 * MAX_PARTS",
        without="MAX_PIECES: Final = 10**9",
        tests=(f"{TESTS}/test_gif_blocks.py",),
    ),
    Mutation(
        name="source containers: the size is checked before any pixel is read",
        path=SOURCES,
        text="            _check_size(width, height)\n",
        without="",
        tests=(f"{TESTS}/test_containers.py::test_the_size_is_checked_before_any_pixel_is_read",),
    ),
    Mutation(
        name="source containers: memory is limited",
        path="workers/imaging/container_reader.py",
        text="    _limit_memory(byte_count)\n",
        without="",
        tests=(f"{TESTS}/test_containers.py::test_a_picture_is_read_within_its_memory",),
    ),
    Mutation(
        name="source containers: pictures in work are within the budget",
        path=SOURCES,
        text="_budget.spend(bytes_read + _bytes_of_work(width * height))",
        without="_budget.spend(0)",
        tests=(
            f"{TESTS}/test_containers.py::test_a_picture_waits_while_the_bytes_in_work_are_at_their_limit",
        ),
    ),
    Mutation(
        name="source containers: time is limited",
        path=CONTAINERS,
        text="        timer.start()\n",
        without="",
        tests=(f"{TESTS}/test_containers.py::test_a_picture_is_read_within_its_time",),
    ),
    Mutation(
        name="source containers: the process gets no secret",
        path=CONTAINERS,
        text="env={}",
        without="env=None",
        tests=(f"{TESTS}/test_containers.py::test_the_process_gets_no_environment_and_ends_with_the_block",),
    ),
    Mutation(
        name="a source of another shape is in the middle",
        path="workers/imaging/letterbox.py",
        text="    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2\n",
        without="    left, top = 0, 0\n",
        tests=(
            "tests/workers/imaging/test_letterbox.py::"
            "test_a_block_in_the_middle_stays_in_the_middle_and_a_square",
        ),
    ),
    Mutation(
        name="a model that learned equal shapes gets sources in the ordered size",
        path="workers/pipelines/flux2/reference_images.py",
        text="        if self._shape == ORDERED:\n",
        without="        if self._shape != ORDERED:\n",
        tests=(
            "tests/workers/pipelines/flux2/test_engine.py::"
            "test_a_model_that_learned_equal_shapes_gets_sources_in_the_ordered_size",
        ),
    ),
    Mutation(
        name="formats: the digest of a request has the format and the compression",
        path="zekron_api/endpoints/create_generation.py",
        text="    FORMAT_PARAMETER: DEFAULT_FORMAT,\n",
        without="",
        tests=(f"{FORMATS}::test_another_format_under_the_same_key_is_another_request",),
    ),
    Mutation(
        name="formats: a compressed PNG is refused",
        path="zekron_api/endpoints/serializers.py",
        text="        output_fields.refuse_compressed_png(attrs)\n",
        without="",
        tests=(f"{FORMATS}::test_what_cannot_be_honoured_is_refused_by_name",),
    ),
    Mutation(
        name="formats: the stored media type is the file's",
        path="workers/gpu_worker/finished_image.py",
        text="        mime_type=finished.mime_type,\n",
        without='        mime_type="image/png",\n',
        tests=(f"{FORMATS}::test_the_format_is_the_same_wherever_the_image_is_told_of",),
    ),
    Mutation(
        name="formats: the erasure keeps the format",
        path="workers/lifecycle/erasure.py",
        text='("width", "height", FORMAT_PARAMETER)',
        without='("width", "height")',
        tests=(f"{FORMATS}::test_the_format_is_the_same_wherever_the_image_is_told_of",),
    ),
    Mutation(
        name="marks: a picture is marked",
        path="workers/gpu_worker/finished_image.py",
        text=", xmp=marking.xmp_packet(generation))",
        without=")",
        tests=(f"{FORMATS}::test_every_image_says_that_it_was_generated_and_nothing_of_its_request",),
    ),
    Mutation(
        name="marks: a preview is marked",
        path="workers/gpu_worker/previews.py",
        text="encode(preview, xmp=marking.xmp_packet(generation))",
        without="encode(preview)",
        tests=("tests/workers/gpu_worker/test_previews.py::test_a_preview_says_that_it_was_generated",),
    ),
    Mutation(
        name="marks: an edit is another source type than a create",
        path="workers/gpu_worker/marking.py",
        text="SourceType.EDITED if kind == Kind.EDIT else SourceType.CREATED",
        without="SourceType.CREATED",
        tests=(f"{FORMATS}::test_every_image_says_that_it_was_generated_and_nothing_of_its_request",),
    ),
    Mutation(
        name="a mask keeps the source's pixels",
        path="workers/gpu_worker/attempt.py",
        text="    if order.mask is not None:\n",
        without="    if False:\n",
        tests=(f"{MASKS}::test_the_kept_half_is_the_source_bit_for_bit_and_the_other_is_painted",),
    ),
    Mutation(
        name="a mask without a transparent pixel is refused",
        path="workers/imaging/masks.py",
        text="        if mask.getextrema()[0] == KEPT:\n",
        without="        if False:\n",
        tests=(f"{MASKS}::test_another_file_is_refused_by_name_and_nothing_is_stored",),
    ),
    Mutation(
        name="a mask has the size of its image",
        path="workers/imaging/masks.py",
        text="    if of_mask != of_source and not (\n",
        without="    if False and not (\n",
        tests=(f"{MASKS}::test_another_file_is_refused_by_name_and_nothing_is_stored",),
    ),
    Mutation(
        name="a mask is part of a request's content",
        path="zekron_api/endpoints/create_generation.py",
        text='    "mask": None,\n',
        without="",
        tests=(f"{MASKS}::test_a_mask_is_part_of_the_content_under_an_idempotency_key",),
    ),
    Mutation(
        name="pipelines: the source is kept under the noise of each step",
        path=KEPT_LATENTS,
        text="kept = signal * kept + rest * self._noise",
        without="pass",
        tests=(f"{KEPT}::test_they_have_the_noise_that_the_step_leaves",),
    ),
    Mutation(
        name="pipelines: the noise under a mask is that of the steps that are taken",
        path=KEPT_LATENTS,
        text="scheduler.timesteps[done - step_count]",
        without="scheduler.timesteps[done]",
        tests=(f"{KEPT}::test_they_have_the_noise_that_the_step_leaves",),
    ),
    Mutation(
        name="pipelines: a masked edit puts its kept latents back",
        path="workers/pipelines/diffusers/engine.py",
        text="                if kept is None:\n",
        without="                if True:\n",
        tests=(
            "tests/workers/pipelines/test_pipeline_contract.py"
            "::test_a_mask_keeps_the_source_outside_of_it_and_paints_inside",
        ),
    ),
    Mutation(
        name="pipelines: nothing is put back between the halves of a step",
        path=KEPT_LATENTS,
        text='        if not getattr(scheduler, "state_in_first_order", True):\n',
        without="        if False:\n",
        tests=(f"{KEPT}::test_between_the_halves_of_a_step_nothing_is_put_back",),
    ),
    Mutation(
        name="Stable Diffusion XL: what is painted anew does not show through",
        path="workers/pipelines/diffusers/stable_diffusion_xl.py",
        text='picture = Image.composite(picture, Image.new("RGB", picture.size, GREY), first.mask)',
        without="pass",
        tests=(
            "tests/workers/pipelines/diffusers/test_stable_diffusion_xl.py"
            "::test_what_a_mask_leaves_to_be_painted_does_not_show_through",
        ),
    ),
    Mutation(
        name="Stable Diffusion XL: what a mask leaves starts from noise",
        path="workers/pipelines/diffusers/stable_diffusion_xl.py",
        text="            strength = MASKED_STRENGTH\n",
        without="",
        tests=(
            "tests/workers/pipelines/diffusers/test_stable_diffusion_xl.py"
            "::test_what_a_mask_leaves_to_be_painted_starts_from_noise_whatever_the_strength",
        ),
    ),
    Mutation(
        name="the source is kept under the noise of each step",
        path="workers/pipelines/flux2/engine.py",
        text="torch.where(batch.is_kept_BS1, noisy_BSC, latents_BSC)",
        without="torch.where(batch.is_kept_BS1, batch.kept_BSC, latents_BSC)",
        tests=(
            "tests/workers/pipelines/flux2/test_engine.py::"
            "test_a_masked_edit_is_what_the_pipeline_makes_of_the_same_order",
        ),
    ),
    Mutation(
        name="verify: a digest comes with the completion alone",
        path="workers/lifecycle/made_pictures.py",
        text=" FROM moved WHERE %(pixel_digest)s::bytea",
        without=" WHERE %(pixel_digest)s::bytea",
        tests=(f"{VERIFY}::test_an_attempt_that_lost_its_lease_leaves_no_digest",),
    ),
    Mutation(
        name="verify: the digest has the shape",
        path="workers/lifecycle/made_pictures.py",
        text='struct.pack(">II", width, height)',
        without='b""',
        tests=(f"{VERIFY}::test_another_picture_was_not_made_here",),
    ),
    Mutation(
        name="verify: the digest of a lossy file is of its own pixels",
        path="workers/gpu_worker/finished_image.py",
        text="picture if encoding.is_lossless else encoders.decode(content)",
        without="picture",
        tests=(f"{VERIFY}::test_a_picture_that_was_made_here_is_known_to_everyone_after_it_is_gone",),
    ),
    Mutation(
        name="verify: every key of the ring is tried",
        path="workers/lifecycle/made_pictures.py",
        text="for key in keys.values()]",
        without="for key in list(keys.values())[:1]]",
        tests=(f"{VERIFY}::test_a_key_that_is_no_longer_the_first_still_knows_its_pictures",),
    ),
    Mutation(
        name="verify: transparency makes another picture",
        path="workers/imaging/inspection.py",
        text="if alpha == (255, 255) else None",
        without="if alpha else None",
        tests=(f"{VERIFY}::test_a_picture_that_becomes_transparent_is_another_one",),
    ),
    Mutation(
        name="verify: a large picture's pixels are not read",
        path="workers/imaging/inspection.py",
        text=" if image.width * image.height <= MAX_READ_PIXELS else None",
        without="",
        tests=(f"{VERIFY}::test_a_large_picture_is_not_read_and_was_not_made_here",),
    ),
    Mutation(
        name="verify: it counts apart",
        path="zekron_api/endpoints/verify.py",
        text="    rate_scope = rate_limit.Scope.VERIFICATIONS\n",
        without="",
        tests=(f"{VERIFY}::test_it_has_a_limit_of_its_own",),
    ),
)
