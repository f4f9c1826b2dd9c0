"""The tokens of a picture that a mask keeps."""

from PIL import Image

from workers.pipelines.runtime import masked_tokens


def test_a_token_that_is_painted_in_part_is_painted_as_a_whole() -> None:
    mask = Image.new("L", (80, 64), 255)
    mask.putpixel((33, 0), 254)
    mask.paste(0, (0, 32, 32, 64))
    kept = masked_tokens.find_kept(mask, (2, 3), patch_pixels=32)
    # The third column reaches beyond the mask.
    assert kept.tolist() == [True, False, True, False, True, True]
