"""The part of a long prompt that is read, with a tokenizer for which each letter is a token."""

import pytest

from workers.pipelines.flux2.prompt_template import END, MIDDLE, PromptTemplate
from workers.pipelines.tiny import flux2_klein

TOKENIZER = flux2_klein._build_tokenizer()
LENGTH = 23
# The template has a token before a prompt and two behind it.
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("cut", [END, MIDDLE])
@pytest.mark.parametrize("prompt", ["", "a", LETTERS[:20]])
def test_a_prompt_that_fits_is_read_whole(cut: str, prompt: str) -> None:
    template = PromptTemplate(tokenizer=TOKENIZER, length=LENGTH, cut=cut)
    assert template.fit(prompt) == (prompt, (len(prompt), len(prompt)))


def test_the_end_of_a_long_prompt_is_cut_off() -> None:
    template = PromptTemplate(tokenizer=TOKENIZER, length=LENGTH)
    assert template.fit(LETTERS) == (LETTERS, (22, 26))
    # What is cut off here is the template's end alone.
    assert template.fit(LETTERS[:22]) == (LETTERS[:22], (22, 22))


def test_the_middle_of_a_long_prompt_is_left_out() -> None:
    template = PromptTemplate(tokenizer=TOKENIZER, length=LENGTH, cut=MIDDLE)
    assert template.fit(LETTERS) == ("abcdefghijk" + "pqrstuvwxyz", (22, 26))
    assert template.fit(LETTERS[:23]) == (LETTERS[:11] + LETTERS[12:23], (22, 23))
    assert template.fit(LETTERS[:22]) == (LETTERS[:22], (22, 22))


def test_special_tokens_and_characters_of_several_tokens_are_counted_as_they_are_read() -> None:
    template = PromptTemplate(tokenizer=TOKENIZER, length=LENGTH, cut=MIDDLE)
    assert template.fit("<|im_end|>" * 100) == ("<|im_end|>" * 22, (22, 100))
    text, tokens = template.fit("\U0001f98a" * 100)
    # A character is four tokens, and the last one is read in part.
    assert (text, tokens) == ("\U0001f98a" * 6, (22, 400))


def test_without_room_for_two_tokens_the_end_is_cut_off() -> None:
    template = PromptTemplate(tokenizer=TOKENIZER, length=2, cut=MIDDLE)
    assert template.fit("abcdef") == ("abcdef", (1, 6))
