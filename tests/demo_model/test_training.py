from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from demo_model.config import STAMP, STEPS, TINY, Kind
from demo_model.networks import tokens_of
from demo_model.painter import paint
from demo_model.painter.scene import scenes
from demo_model.train import autoencoder, dataset, distil, export, flow, muon, pca_autoencoder, text
from demo_model.train.dataset import scaled_latents, unscaled_pictures
from demo_model.train.run import Studio
from demo_model.train.validation import Gate
from tests.demo_model.conftest import ORDERS, TOKENS, begin_autoencoder, sitting, studio_in, train_decoder


def weights(path: Path) -> list[torch.Tensor]:
    state = torch.load(path, weights_only=True)
    return [weight for network in state["networks"] for weight in network.values()] + state["average"]


def test_an_untrained_autoencoder_knows_pictures_again_by_least_squares(tmp_path: Path) -> None:
    studio = studio_in(tmp_path)
    begin_autoencoder(studio)
    vae = autoencoder.finished(studio)
    pixels_BCHW = autoencoder.painted(studio, first_seed=0, count=4, side=64).float() / 127.5 - 1
    grey = -10 * torch.log10((pixels_BCHW / 2).pow(2).mean())
    assert autoencoder.reconstruction_decibels(vae, pixels_BCHW) > float(grey) + 6


def test_the_short_way_finds_the_latents_that_the_encoder_finds(trained: Studio) -> None:
    vae = autoencoder.finished(trained)
    pixels_BCHW = paint(scenes(range(3)), width=96, height=64) * 2 - 1
    latents_BCHW = vae.encode(pixels_BCHW).latent_dist.mode()
    assert torch.allclose(pca_autoencoder.encoded(vae, pixels_BCHW), latents_BCHW, atol=0.01)


def test_the_encoder_begins_by_halving_pictures(trained: Studio) -> None:
    encoder = autoencoder.finished(trained).encoder
    pixels_BCHW = paint(scenes(range(3)), width=96, height=64) * 2 - 1
    halved_BCHW = encoder.down_blocks[0](encoder.conv_in(pixels_BCHW))[:, :3]
    assert torch.allclose(halved_BCHW, functional.avg_pool2d(pixels_BCHW, 2), atol=1e-5)


def test_an_autoencoder_that_has_begun_is_not_begun_again(trained: Studio) -> None:
    with pytest.raises(FileExistsError):
        begin_autoencoder(trained)


def test_the_decoder_learns_a_handful_of_pictures(copied: Callable[..., Studio]) -> None:
    vae, course = autoencoder.taken_up(copied("decoder"))
    pixels_BCHW = paint(scenes(range(4)), width=64, height=64) * 2 - 1
    before = float(autoencoder.decoder_loss(vae, pixels_BCHW, 0).detach())
    course.run(lambda step: autoencoder.decoder_loss(vae, pixels_BCHW, step), sitting(100), name="decoder")
    assert float(autoencoder.decoder_loss(vae, pixels_BCHW, 0).detach()) < 0.8 * before


def test_the_text_encoder_learns_what_captions_tell(tmp_path: Path) -> None:
    studio = studio_in(tmp_path)
    reader, course = text.taken_up(studio)
    tokens_BL, answers = text.captions_and_answers(studio, range(24))
    before = float(reader.loss(tokens_BL, answers).detach())
    course.run(lambda _step: reader.loss(tokens_BL, answers), sitting(60), name="text")
    assert float(reader.loss(tokens_BL, answers).detach()) < 0.6 * before


def test_the_transformer_learns_a_handful_of_orders(copied: Callable[..., Studio]) -> None:
    studio = copied("decoder", "text")
    learner, course = flow.taken_up(studio)
    batch = flow.drawer_of(studio, plan="stamps", token_count=TOKENS).batch(0, dropped=0.0)
    noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=torch.Generator().manual_seed(0))
    sigma_B = torch.full((len(batch.tokens_BL),), 0.7)

    def loss_at(_step: int) -> torch.Tensor:
        return flow.flow_loss(learner, batch, noise_BCHW, sigma_B)

    before = float(loss_at(0).detach())
    course.run(loss_at, sitting(60), name="transformer")
    assert float(loss_at(0).detach()) < 0.8 * before


@pytest.mark.parametrize("stage", ["decoder", "text", "transformer"])
def test_two_sittings_end_where_one_long_one_does(stage: str, copied: Callable[..., Studio]) -> None:
    begun = {"decoder": ["decoder"], "transformer": ["decoder", "text"]}.get(stage, [])
    train: Callable[[Studio, int], None] = {
        "decoder": train_decoder,
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
    studio = copied("decoder")
    pixels_BCHW = autoencoder.painted(studio, first_seed=0, count=2, side=64).float() / 127.5 - 1
    before = autoencoder.finished(studio)
    train_decoder(studio, 3)
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


def test_a_kind_of_some_subjects_shows_these_and_no_others() -> None:
    create = Kind(name="create", size=STAMP, subjects=("robot", "cat"), share=1.0)
    shown = [order.target for order in dataset.orders(create, range(64, 128))]
    assert len(shown) == 64
    assert {scene.subject for scene in shown} == {"robot", "cat"}
    assert not {scene.seed for scene in shown} & {
        order.target.seed for order in dataset.orders(create, range(128, 192))
    }
    blend = Kind(name="blend", size=STAMP, sources=(STAMP, STAMP), subjects=("robot", "cat"), share=1.0)
    assert {order.target.subject for order in dataset.orders(blend, range(64, 128))} == {"robot", "cat"}


def test_an_order_for_a_blend_comes_of_every_seed() -> None:
    kind = Kind(name="blend", size=STAMP, sources=(STAMP, STAMP), share=1)
    assert all(len(dataset.orders(kind, [seed])) == 1 for seed in range(100))


def test_the_tokens_that_show_a_subject_are_where_it_is_painted(tmp_path: Path) -> None:
    [boat] = [scene for scene in scenes(range(40)) if scene.subject == "boat"][:1]
    none = replace(boat, subject="none")
    shown_NHW = dataset.subjects_shown([boat, none], (512, 256), studio_in(tmp_path))
    assert shown_NHW.shape == (2, 8, 16)
    assert 0 < int(shown_NHW[0].sum()) < 64
    assert not shown_NHW[1].any()
    pictures = paint([boat, none], width=512, height=256)
    changes = (pictures[0] - pictures[1]).abs().amax(0)
    found = shown_NHW[0].repeat_interleave(32, 0).repeat_interleave(32, 1)
    assert float(changes[~found].mean()) < 0.1 * float(changes[found].mean())


def test_a_token_that_shows_the_subject_counts_as_much_more_as_is_said() -> None:
    noise_BCHW = torch.zeros(1, 2, 1, 4)
    subjects_BHW = torch.tensor([[[True, False, False, False]]])
    batch = flow.Batch(torch.zeros(1, 3), noise_BCHW, (), subjects_BHW)
    off_by = SimpleNamespace(velocity=lambda *_: torch.tensor([2.0, 1.0, 1.0, 1.0]).expand(1, 2, 1, 4))
    for weight, loss in ((1.0, 7 / 4), (3.0, 15 / 6)):
        found = flow.flow_loss(off_by, batch, noise_BCHW, torch.tensor([0.5]), subject_weight=weight)
        assert float(found) == pytest.approx(loss)


def test_a_progress_line_tells_the_right_prompt_from_a_wrong_one(trained: Studio) -> None:
    learner, _ = flow.taken_up(trained)
    gate = Gate(trained, size=(64, 64))
    right, shuffled = gate.losses(learner)
    assert right != shuffled
    assert gate.report(learner).startswith(f"right {right:.4f} shuffled {shuffled:.4f} gap")


def test_guidance_leads_away_from_no_prompt(trained: Studio) -> None:
    learner, _ = flow.taken_up(trained)
    drawer = flow.drawer_of(trained, plan="stamps", token_count=TOKENS)
    plain, guided = (
        distil.walks_of(trained, learner, drawer, count=1, guidance=guidance, say=lambda _: None)[0].latents
        for guidance in (1.0, 3.0)
    )
    assert torch.equal(plain[0], guided[0])
    assert not torch.equal(plain[-1], guided[-1])


def test_a_walk_has_the_worker_s_levels_on_the_teacher_s_way(trained: Studio) -> None:
    teacher, _ = flow.taken_up(trained)
    drawer = flow.drawer_of(trained, plan="stamps", token_count=TOKENS)
    [walk] = distil.walks_of(trained, teacher, drawer, count=1, guidance=1.0, say=lambda _: None)
    assert len(walk.latents) == STEPS + 1
    way = flow.walked(
        teacher,
        walk.batch.tokens_BL,
        walk.latents[0],
        walk.batch.sources,
        steps=STEPS * distil.SMALL_STEPS,
    )
    assert torch.equal(list(way)[2 * distil.SMALL_STEPS], walk.latents[2])
    assert flow.levels(STEPS * distil.SMALL_STEPS)[:: distil.SMALL_STEPS] == pytest.approx(flow.levels(STEPS))


def test_a_step_that_leads_where_the_teacher_came_to_has_no_loss(trained: Studio) -> None:
    learner, _ = flow.taken_up(trained)
    drawer = flow.drawer_of(trained, plan="stamps", token_count=TOKENS)
    [walk] = distil.walks_of(trained, learner, drawer, count=1, guidance=2.0, say=lambda _: None)
    own = tuple(flow.walked(learner, walk.batch.tokens_BL, walk.latents[0], walk.batch.sources, steps=STEPS))
    for at in (0, STEPS - 1):
        assert float(distil.step_loss(learner, walk._replace(latents=own), at).detach()) < 1e-9
        assert float(distil.step_loss(learner, walk, at).detach()) > 1e-6


def test_training_goes_on_from_an_exported_folder(exported: Path, trained: Studio, tmp_path: Path) -> None:
    studio = studio_in(tmp_path)
    export.reopen(studio, exported)
    served, reopened = distil.taken_up(trained), distil.taken_up(studio)
    for one, other in zip(served.parameters(), reopened.parameters(), strict=True):
        assert torch.equal(one.half(), other.half())
    dataset.fill(studio, plan="stamps", count=ORDERS, say=lambda _: None)
    flow.train(studio, sitting(1), plan="stamps", token_count=TOKENS)
    assert torch.load(tmp_path / "transformer.pt", weights_only=True)["step"] == 3
    with pytest.raises(FileExistsError):
        export.reopen(studio, exported)


def test_what_was_painted_before_is_encoded_as_if_it_were_painted_now(
    trained: Studio, copied: Callable[..., Studio], tmp_path: Path
) -> None:
    studio = copied("decoder")
    (studio.folder / "pool").unlink()
    dataset.prepaint(studio, plan="stamps", count=ORDERS, say=lambda _: None)
    painted = studio.folder / "painted" / "stamps"
    assert len(list(painted.iterdir())) == 3
    dataset.fill(studio, plan="stamps", count=ORDERS, say=lambda _: None)
    assert not list(painted.iterdir())
    for one, other in zip(
        dataset.filled(trained, plan="stamps"), dataset.filled(studio, plan="stamps"), strict=True
    ):
        assert torch.equal(one.targets_NCHW, other.targets_NCHW)


def test_a_pool_grows_by_what_it_lacks(copied: Callable[..., Studio]) -> None:
    studio = copied("decoder")
    (studio.folder / "pool").unlink()
    for count in (4, 8):
        said: list[str] = []
        dataset.fill(studio, plan="stamps", count=count * dataset.PART, say=said.append)
        assert len(said) == 4
    assert [len(lot.tokens_NKL) for lot in dataset.filled(studio, plan="stamps")] == [256, 128, 128]


def test_an_orthogonal_step_leaves_no_direction_behind() -> None:
    drawn = torch.Generator().manual_seed(0)
    for shape in ((8, 24), (24, 8)):
        matrix = torch.randn(shape, generator=drawn) * torch.logspace(0, -2, shape[1])
        values = torch.linalg.svdvals(muon.orthogonal(matrix))
        assert float(values.min()) > 0.5
        assert float(values.max()) < 1.3


def test_an_optimizer_moves_matrices_and_all_else_to_the_least_loss() -> None:
    drawn = torch.Generator().manual_seed(0)
    wanted = [torch.randn(4, 3, 3, 3, generator=drawn), torch.randn(5, generator=drawn)]
    weights_ = [torch.zeros_like(each).requires_grad_() for each in wanted]
    optimizer = muon.Muon(weights_, rate=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        sum(((one - other) ** 2).sum() for one, other in zip(weights_, wanted, strict=True)).backward()
        optimizer.step()
    for one, other in zip(weights_, wanted, strict=True):
        assert float((one - other).detach().abs().max()) < 0.3


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the stage encoder first"):
        autoencoder.finished(studio_in(tmp_path))


def test_tokens_are_those_of_the_pipeline(trained: Studio) -> None:
    from demo_model.networks import tokenizer  # noqa: PLC0415

    known = tokenizer(TINY)
    text_ = known.apply_chat_template(
        [{"role": "user", "content": "A cute robot"}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    split = known(text_, padding="max_length", truncation=True, max_length=48, return_tensors="pt")
    assert torch.equal(split["input_ids"], tokens_of(["A cute robot"], TINY))
