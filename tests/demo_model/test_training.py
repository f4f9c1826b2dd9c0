from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from demo_model.judge import classifier
from demo_model.painter import paint
from demo_model.painter.scene import scenes
from demo_model.parts import tokens_of
from demo_model.sizes import TINY
from demo_model.train import autoencoder, export, flow, text
from demo_model.train.gate import Gate
from demo_model.train.pool import scaled_latents, unscaled_pictures
from demo_model.train.straighten import painted_pairs
from demo_model.train.studio import Studio
from tests.demo_model.conftest import TOKENS, sitting, studio_in, train_autoencoder


def weights(path: Path) -> list[torch.Tensor]:
    state = torch.load(path, weights_only=True)
    return [weight for network in state["networks"] for weight in network.values()] + state["average"]


def test_the_autoencoder_learns_a_handful_of_pictures(tmp_path: Path) -> None:
    studio = studio_in(tmp_path)
    vae, course = autoencoder.taken_up(studio, is_decoder=False)
    pixels_BCHW = autoencoder.painted(studio, first_seed=0, count=4, side=64).float() / 127.5 - 1
    before = float(autoencoder.loss_of(vae, pixels_BCHW, 0).detach())
    course.run(lambda step: autoencoder.loss_of(vae, pixels_BCHW, step), sitting(60), name="vae")
    assert float(autoencoder.loss_of(vae, pixels_BCHW, 0).detach()) < 0.8 * before


def test_the_text_encoder_learns_what_captions_tell(tmp_path: Path) -> None:
    studio = studio_in(tmp_path)
    reader, course = text.taken_up(studio)
    tokens_BL, answers = text.captions_and_answers(studio, range(24))
    before = float(reader.loss(tokens_BL, answers).detach())
    course.run(lambda _step: reader.loss(tokens_BL, answers), sitting(60), name="text")
    assert float(reader.loss(tokens_BL, answers).detach()) < 0.6 * before


def test_the_transformer_learns_a_handful_of_orders(copied: Callable[..., Studio]) -> None:
    studio = copied("vae", "decoder", "text")
    learner, course = flow.taken_up(studio)
    batch = flow.drawer_of(studio, plan="stamps", token_count=TOKENS).batch(0, dropped=0.0)
    noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=torch.Generator().manual_seed(0))
    sigma_B = torch.full((len(batch.tokens_BL),), 0.7)

    def loss_at(_step: int) -> torch.Tensor:
        return flow.flow_loss(learner, batch, noise_BCHW, sigma_B)

    before = float(loss_at(0).detach())
    course.run(loss_at, sitting(60), name="transformer")
    assert float(loss_at(0).detach()) < 0.8 * before


@pytest.mark.parametrize("stage", ["vae", "decoder", "text", "transformer"])
def test_two_sittings_end_where_one_long_one_does(stage: str, copied: Callable[..., Studio]) -> None:
    begun = {"decoder": ["vae"], "transformer": ["vae", "decoder", "text"]}.get(stage, [])
    train: Callable[[Studio, int], None] = {
        "vae": train_autoencoder,
        "decoder": lambda studio, steps: train_autoencoder(studio, steps, is_decoder=True),
        "text": lambda studio, steps: text.train(studio, sitting(steps)),
        "transformer": lambda studio, steps: flow.train(
            studio, sitting(steps), plan="stamps", token_count=TOKENS
        ),
    }[stage]
    once, twice = copied(*begun, name="once"), copied(*begun, name="twice")
    train(once, 4)
    for _ in range(2):
        train(twice, 2)
    pairs = zip(weights(once.folder / f"{stage}.pt"), weights(twice.folder / f"{stage}.pt"), strict=True)
    for one, other in pairs:
        assert torch.equal(one, other)


def test_the_decoder_s_stage_leaves_the_latents_as_they_are(copied: Callable[..., Studio]) -> None:
    studio = copied("vae", "decoder")
    pixels_BCHW = autoencoder.painted(studio, first_seed=0, count=2, side=64).float() / 127.5 - 1
    before = autoencoder.finished(studio)
    train_autoencoder(studio, 3, is_decoder=True)
    after = autoencoder.finished(studio)
    latents_BCHW = scaled_latents(before, pixels_BCHW)
    assert torch.equal(latents_BCHW, scaled_latents(after, pixels_BCHW))
    assert not torch.equal(unscaled_pictures(before, latents_BCHW), unscaled_pictures(after, latents_BCHW))


def test_the_pool_has_the_latents_of_what_its_orders_show(trained: Studio) -> None:
    [create, edit, blend] = flow.drawer_of(trained, plan="stamps", token_count=TOKENS).lots
    assert [len(lot.sources_NCHW) for lot in (create, edit, blend)] == [0, 1, 2]
    for lot in (create, edit, blend):
        assert lot.targets_NCHW.shape[1:] == (4 * TINY.latent_channels, 2, 2)
        assert bool(torch.isfinite(lot.targets_NCHW).all())
    assert not torch.equal(edit.targets_NCHW, edit.sources_NCHW[0])


def test_a_progress_line_tells_the_right_prompt_from_a_wrong_one(trained: Studio) -> None:
    learner, _ = flow.taken_up(trained)
    gate = Gate(trained, size=(64, 64))
    right, shuffled = gate.losses(learner)
    assert right != shuffled
    assert gate.report(learner).startswith(f"right {right:.4f} shuffled {shuffled:.4f} gap")


def test_guidance_leads_away_from_no_prompt(trained: Studio) -> None:
    learner, _ = flow.taken_up(trained)
    drawer = flow.drawer_of(trained, plan="stamps", token_count=TOKENS)
    pairs = {
        guidance: painted_pairs(trained, learner, drawer, count=1, guidance=guidance, say=lambda _: None)[0]
        for guidance in (1.0, 3.0)
    }
    assert torch.equal(pairs[1.0][1], pairs[3.0][1])
    assert not torch.equal(pairs[1.0][0].latents_BCHW, pairs[3.0][0].latents_BCHW)


def test_light_checkpoints_can_be_gone_on_from(
    trained: Studio, copied: Callable[..., Studio], tmp_path: Path
) -> None:
    byte_count = export.lighten(trained, tmp_path / "light")
    assert byte_count < 0.2 * sum(path.stat().st_size for path in trained.folder.glob("*.pt"))
    studio = copied("vae", "decoder", "text")
    (studio.folder / "transformer.pt").write_bytes((tmp_path / "light" / "transformer.pt").read_bytes())
    flow.train(studio, sitting(1), plan="stamps", token_count=TOKENS)
    assert torch.load(studio.folder / "transformer.pt", weights_only=True)["step"] == 3


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train the stages vae and decoder first"):
        autoencoder.finished(studio_in(tmp_path))


def test_the_judge_learns_a_handful_of_pictures_and_answers_in_the_painter_s_words(trained: Studio) -> None:
    judge, course = classifier.taken_up(trained)
    shown = scenes(range(4))
    pixels_BCHW = paint(shown, width=64, height=64)
    right = classifier.right_answers(shown, trained.device)

    def loss_at(_step: int) -> torch.Tensor:
        scores = judge(pixels_BCHW)
        missed = [torch.nn.functional.cross_entropy(scores[name], right[name]) for name in classifier.ASKED]
        return torch.stack(missed).sum()

    course.run(loss_at, sitting(25), name="judge")
    answers = judge.answers(pixels_BCHW)
    assert sum(answer["time"] == scene.time for answer, scene in zip(answers, shown, strict=True)) == 4
    (trained.folder / "judge.pt").unlink()


def test_tokens_are_those_of_the_pipeline(trained: Studio) -> None:
    from demo_model.parts import tokenizer  # noqa: PLC0415

    known = tokenizer(TINY)
    text_ = known.apply_chat_template(
        [{"role": "user", "content": "A cute robot"}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    split = known(text_, padding="max_length", truncation=True, max_length=48, return_tensors="pt")
    assert torch.equal(split["input_ids"], tokens_of(["A cute robot"], TINY))
