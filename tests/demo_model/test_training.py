import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from demo_model.config import STAMP, STEPS, TINY, ExampleKind
from demo_model.networks import tokenize
from demo_model.painter import paint
from demo_model.painter.scene import PLACES, draw_scenes
from demo_model.train import (
    adapt,
    autoencoder,
    dataset,
    distil,
    examples,
    export,
    flow,
    muon,
    pca_autoencoder,
    plain_edits,
    sampling,
    text,
)
from demo_model.train.dataset import decode_scaled, encode_scaled
from demo_model.train.run import TrainingRun
from demo_model.train.validation import Validator
from tests.demo_model.conftest import (
    EXAMPLE_COUNT,
    TOKEN_COUNT,
    initialize_autoencoder,
    make_budget,
    make_run,
    train_decoder,
)

pytestmark = pytest.mark.long


def weights(path: Path) -> list[torch.Tensor]:
    state = torch.load(path, weights_only=True)
    return [weight for network in state["networks"] for weight in network.values()] + state["average"]


def test_an_untrained_autoencoder_reconstructs_pictures_by_least_squares(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    initialize_autoencoder(run)
    vae = autoencoder.load_trained(run)
    pixels_BCHW = autoencoder.paint_squares(run, first_seed=0, count=4, side=64).float() / 127.5 - 1
    grey = -10 * torch.log10((pixels_BCHW / 2).pow(2).mean())
    assert autoencoder.measure_psnr_decibels(vae, pixels_BCHW) > float(grey) + 6


def test_the_short_computation_gives_the_encoder_s_latents(trained: TrainingRun) -> None:
    vae = autoencoder.load_trained(trained)
    pixels_BCHW = paint(draw_scenes(range(3)), width=96, height=64) * 2 - 1
    latents_BCHW = vae.encode(pixels_BCHW).latent_dist.mode()
    assert torch.allclose(pca_autoencoder.encode(vae, pixels_BCHW), latents_BCHW, atol=0.01)


def test_the_encoder_begins_by_halving_pictures(trained: TrainingRun) -> None:
    encoder = autoencoder.load_trained(trained).encoder
    pixels_BCHW = paint(draw_scenes(range(3)), width=96, height=64) * 2 - 1
    halved_BCHW = encoder.down_blocks[0](encoder.conv_in(pixels_BCHW))[:, :3]
    assert torch.allclose(halved_BCHW, functional.avg_pool2d(pixels_BCHW, 2), atol=1e-5)


def test_an_initialized_autoencoder_is_not_initialized_again(trained: TrainingRun) -> None:
    with pytest.raises(FileExistsError):
        initialize_autoencoder(trained)


def test_the_decoder_learns_a_few_pictures(copied: Callable[..., TrainingRun]) -> None:
    vae, trainer = autoencoder.load(copied("decoder"))
    pixels_BCHW = paint(draw_scenes(range(4)), width=64, height=64) * 2 - 1
    before = float(autoencoder.compute_decoder_loss(vae, pixels_BCHW, 0).detach())
    trainer.train(
        lambda step: autoencoder.compute_decoder_loss(vae, pixels_BCHW, step),
        make_budget(100),
        name="decoder",
    )
    assert float(autoencoder.compute_decoder_loss(vae, pixels_BCHW, 0).detach()) < 0.8 * before


def test_the_text_encoder_learns_what_captions_state(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    caption_classifier, trainer = text.load(run)
    tokens_BL, answers = text.make_labelled_texts(run, range(24))
    before = float(caption_classifier.compute_loss(tokens_BL, answers).detach())
    trainer.train(
        lambda _step: caption_classifier.compute_loss(tokens_BL, answers), make_budget(60), name="text"
    )
    assert float(caption_classifier.compute_loss(tokens_BL, answers).detach()) < 0.6 * before


def test_the_transformer_learns_a_few_examples(copied: Callable[..., TrainingRun]) -> None:
    run = copied("decoder", "text")
    learner, trainer = flow.load(run)
    batch = flow.make_batch_sampler(run, plan="stamps", token_count=TOKEN_COUNT).draw(0, drop_chance=0.0)
    noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=torch.Generator().manual_seed(0))
    sigma_B = torch.full((len(batch.tokens_BL),), 0.7)

    def compute_loss(_step: int) -> torch.Tensor:
        return flow.compute_flow_loss(learner, batch, noise_BCHW, sigma_B)

    before = float(compute_loss(0).detach())
    trainer.train(compute_loss, make_budget(60), name="transformer")
    assert float(compute_loss(0).detach()) < 0.8 * before


@pytest.mark.parametrize("stage", ["decoder", "text", "transformer"])
def test_two_short_calls_end_where_one_long_call_does(stage: str, copied: Callable[..., TrainingRun]) -> None:
    begun = {"decoder": ["decoder"], "transformer": ["decoder", "text"]}.get(stage, [])
    train: Callable[[TrainingRun, int], None] = {
        "decoder": train_decoder,
        "text": lambda run, steps: text.train(run, make_budget(steps)),
        "transformer": lambda run, steps: flow.train(
            run, make_budget(steps), plan="stamps", token_count=TOKEN_COUNT
        ),
    }[stage]
    once, twice = copied(*begun, name="once"), copied(*begun, name="twice")
    train(once, 4)
    for _ in range(2):
        train(twice, 2)
    pairs = zip(weights(once.folder / f"{stage}.pt"), weights(twice.folder / f"{stage}.pt"), strict=True)
    for one, other in pairs:
        assert torch.equal(one, other)


def test_the_decoder_s_stage_leaves_the_latents_as_they_are(copied: Callable[..., TrainingRun]) -> None:
    run = copied("decoder")
    pixels_BCHW = autoencoder.paint_squares(run, first_seed=0, count=2, side=64).float() / 127.5 - 1
    before = autoencoder.load_trained(run)
    train_decoder(run, 3)
    after = autoencoder.load_trained(run)
    latents_BCHW = encode_scaled(before, pixels_BCHW)
    assert torch.equal(latents_BCHW, encode_scaled(after, pixels_BCHW))
    assert not torch.equal(decode_scaled(before, latents_BCHW), decode_scaled(after, latents_BCHW))


def test_the_dataset_has_the_latents_of_its_examples(trained: TrainingRun) -> None:
    [create, edit, blend] = flow.make_batch_sampler(trained, plan="stamps", token_count=TOKEN_COUNT).datasets
    assert [len(each.sources_NCHW) for each in (create, edit, blend)] == [0, 1, 2]
    for each in (create, edit, blend):
        assert each.targets_NCHW.shape[1:] == (4 * TINY.latent_channels, 2, 2)
        assert bool(torch.isfinite(each.targets_NCHW).all())
    assert not torch.equal(edit.targets_NCHW, edit.sources_NCHW[0])


def test_a_kind_of_some_subjects_shows_these_and_no_others() -> None:
    create = ExampleKind(name="create", size=STAMP, subjects=("robot", "cat"), share=1.0)
    shown = [example.target for example in examples.make_examples(create, range(64, 128))]
    assert len(shown) == 64
    assert {scene.subject for scene in shown} == {"robot", "cat"}
    assert not {scene.seed for scene in shown} & {
        example.target.seed for example in examples.make_examples(create, range(128, 192))
    }
    blend = ExampleKind(
        name="blend", size=STAMP, sources=(STAMP, STAMP), subjects=("robot", "cat"), share=1.0
    )
    assert {example.target.subject for example in examples.make_examples(blend, range(64, 128))} == {
        "robot",
        "cat",
    }


def test_a_kind_of_one_place_shows_no_other() -> None:
    kind = ExampleKind(name="create", size=STAMP, places=("mountains",), share=1.0)
    shown = [example.target for example in examples.make_examples(kind, range(64, 128))]
    assert len(shown) == 64
    assert {scene.place for scene in shown} == {"mountains"}
    assert len({scene.subject for scene in shown}) > 5


def test_every_seed_gives_an_example_of_a_blend() -> None:
    kind = ExampleKind(name="blend", size=STAMP, sources=(STAMP, STAMP), share=1)
    assert all(len(examples.make_examples(kind, [seed])) == 1 for seed in range(100))


def test_the_tokens_that_show_a_subject_are_where_it_is_painted(tmp_path: Path) -> None:
    [boat] = [scene for scene in draw_scenes(range(40)) if scene.subject == "boat"][:1]
    none = replace(boat, subject="none")
    shown_NHW = dataset.mask_subjects([boat, none], (512, 256), make_run(tmp_path))
    assert shown_NHW.shape == (2, 8, 16)
    assert 0 < int(shown_NHW[0].sum()) < 64
    assert not shown_NHW[1].any()
    pictures = paint([boat, none], width=512, height=256)
    changes = (pictures[0] - pictures[1]).abs().amax(0)
    found = shown_NHW[0].repeat_interleave(32, 0).repeat_interleave(32, 1)
    assert float(changes[~found].mean()) < 0.1 * float(changes[found].mean())


def test_a_token_that_shows_the_subject_weighs_as_much_as_asked() -> None:
    noise_BCHW = torch.zeros(1, 2, 1, 4)
    subjects_BHW = torch.tensor([[[True, False, False, False]]])
    batch = flow.Batch(torch.zeros(1, 3), noise_BCHW, (), subjects_BHW, torch.zeros(1))
    off_by = SimpleNamespace(
        predict_velocity=lambda *_: torch.tensor([2.0, 1.0, 1.0, 1.0]).expand(1, 2, 1, 4)
    )
    for weight, loss in ((1.0, 7 / 4), (3.0, 15 / 6)):
        found = flow.compute_flow_loss(off_by, batch, noise_BCHW, torch.tensor([0.5]), subject_weight=weight)
        assert float(found) == pytest.approx(loss)


def test_a_progress_line_compares_the_right_prompt_with_a_wrong_one(trained: TrainingRun) -> None:
    learner, _ = flow.load(trained)
    validator = Validator(trained, size=(64, 64))
    right, shuffled = validator.compute_losses(learner)
    assert right != shuffled
    assert validator.report(learner).startswith(f"right {right:.4f} shuffled {shuffled:.4f} gap")


def test_guidance_leads_away_from_no_prompt(trained: TrainingRun) -> None:
    learner, _ = flow.load(trained)
    batch_sampler = flow.make_batch_sampler(trained, plan="stamps", token_count=TOKEN_COUNT)
    plain, guided = (
        distil.sample_trajectories(
            trained, learner, batch_sampler, count=1, guidance=guidance, print_line=lambda _: None
        )[0].latents
        for guidance in (1.0, 3.0)
    )
    assert torch.equal(plain[0], guided[0])
    assert not torch.equal(plain[-1], guided[-1])


def test_a_trajectory_has_the_worker_s_levels_of_the_teacher_s_latents(trained: TrainingRun) -> None:
    teacher, _ = flow.load(trained)
    batch_sampler = flow.make_batch_sampler(trained, plan="stamps", token_count=TOKEN_COUNT)
    [trajectory] = distil.sample_trajectories(
        trained, teacher, batch_sampler, count=1, guidance=1.0, print_line=lambda _: None
    )
    assert len(trajectory.latents) == STEPS + 1
    way = sampling.sample_trajectory(
        teacher,
        trajectory.batch.tokens_BL,
        trajectory.latents[0],
        trajectory.batch.sources,
        steps=STEPS * distil.SMALL_STEPS,
    )
    assert torch.equal(list(way)[2 * distil.SMALL_STEPS], trajectory.latents[2])
    assert sampling.compute_noise_levels(STEPS * distil.SMALL_STEPS)[:: distil.SMALL_STEPS] == pytest.approx(
        sampling.compute_noise_levels(STEPS)
    )


def test_a_step_to_the_teacher_s_latents_has_no_loss(trained: TrainingRun) -> None:
    learner, _ = flow.load(trained)
    batch_sampler = flow.make_batch_sampler(trained, plan="stamps", token_count=TOKEN_COUNT)
    [trajectory] = distil.sample_trajectories(
        trained, learner, batch_sampler, count=1, guidance=2.0, print_line=lambda _: None
    )
    own = tuple(
        sampling.sample_trajectory(
            learner, trajectory.batch.tokens_BL, trajectory.latents[0], trajectory.batch.sources, steps=STEPS
        )
    )
    for at in (0, STEPS - 1):
        assert float(distil.compute_step_loss(learner, trajectory._replace(latents=own), at).detach()) < 1e-9
        assert float(distil.compute_step_loss(learner, trajectory, at).detach()) > 1e-6


def make_mountain_and_city_batch() -> flow.Batch:
    """Return a batch of two pictures of 16 rows and one column of tokens. Row 9 shows the subject."""
    subjects_BHW = torch.zeros(2, 16, 1, dtype=torch.bool)
    subjects_BHW[:, 9] = True
    places_B = torch.tensor([PLACES.index("mountains"), PLACES.index("city")])
    return flow.Batch(torch.zeros(2, 3), torch.ones(2, 1, 16, 1), (), subjects_BHW, places_B)


def compute_adapting_loss(batch: flow.Batch, *, off_by_BCHW: torch.Tensor) -> float:
    """Compute the loss of a flow whose velocities are wrong by the given numbers. The finished flow's are all 7."""

    def predict(_: object, noisy_BCHW: torch.Tensor, sigma_B: torch.Tensor, __: object) -> torch.Tensor:
        painted_BCHW = (noisy_BCHW - batch.latents_BCHW) / sigma_B[:, None, None, None]
        right_BCHW = torch.where(adapt.mask_place(batch, "mountains")[:, None], painted_BCHW, 7.0)
        return right_BCHW + off_by_BCHW

    finished = SimpleNamespace(predict_velocity=lambda *_: torch.full((2, 1, 16, 1), 7.0))
    generator = torch.Generator().manual_seed(0)
    return float(
        adapt.compute_adapting_loss(
            SimpleNamespace(predict_velocity=predict), finished, batch, generator, place="mountains"
        )
    )


def test_only_low_tokens_of_the_place_without_a_subject_are_adapted() -> None:
    [mountains, city] = adapt.mask_place(make_mountain_and_city_batch(), "mountains").tolist()
    assert [row for row, [is_place] in enumerate(mountains) if is_place] == [*range(3, 9), *range(10, 16)]
    assert not any(is_place for [is_place] in city)


def test_an_adapted_flow_is_right_if_it_paints_the_place_and_keeps_the_rest() -> None:
    batch = make_mountain_and_city_batch()
    assert compute_adapting_loss(batch, off_by_BCHW=torch.zeros(2, 1, 16, 1)) < 1e-9
    for picture in (0, 1):
        off_by_BCHW = torch.zeros(2, 1, 16, 1)
        off_by_BCHW[picture] = 1
        assert compute_adapting_loss(batch, off_by_BCHW=off_by_BCHW) > 0.4


def test_the_outline_of_the_place_weighs_more_than_its_foot() -> None:
    batch = make_mountain_and_city_batch()
    losses = {}
    for row in (2, 4, 12):
        off_by_BCHW = torch.zeros(2, 1, 16, 1)
        off_by_BCHW[0, 0, row] = 1
        losses[row] = compute_adapting_loss(batch, off_by_BCHW=off_by_BCHW)
    assert losses[4] == pytest.approx(adapt.OUTLINE_WEIGHT * losses[12])
    assert losses[2] == pytest.approx(losses[12])


def test_a_flow_that_edits_plain_pictures_as_before_is_right_and_another_is_not(trained: TrainingRun) -> None:
    finished = distil.load_finished(trained)
    vae = autoencoder.load_trained(trained)
    first, second = plain_edits.sample(trained, finished, vae, count=8, size=(64, 64))
    assert first.sources_BCHW.shape == first.latents[0].shape
    assert not torch.equal(first.sources_BCHW, second.sources_BCHW)
    other = distil.load_finished(trained)
    for parameter in other.transformer.parameters():
        parameter.data.mul_(1.5)
    with torch.no_grad():
        for seed in range(4):
            kept, changed = (
                float(plain_edits.compute_loss(each, first, torch.Generator().manual_seed(seed)))
                for each in (finished, other)
            )
            assert kept < 1e-6 < changed


def test_a_plain_picture_has_two_or_three_colours() -> None:
    for seed in range(20):
        picture_CHW = plain_edits.draw(random.Random(seed), 48, 32)
        assert picture_CHW.shape == (3, 32, 48)
        assert picture_CHW.abs().max() <= 1
        assert len(picture_CHW.flatten(1).unique(dim=1).T) in {2, 3}


def test_adapting_leaves_the_text_encoder_as_it_is(trained: TrainingRun) -> None:
    finished, served = distil.load_finished(trained), adapt.load_served(trained)
    for one, other in zip(finished.text.parameters(), served.text.parameters(), strict=True):
        assert torch.equal(one, other)
    pairs = zip(finished.transformer.parameters(), served.transformer.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


def test_training_continues_from_an_exported_folder(
    exported: Path, trained: TrainingRun, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    export.reopen(run, exported)
    served, reopened = adapt.load_served(trained), adapt.load_served(run)
    for one, other in zip(served.parameters(), reopened.parameters(), strict=True):
        assert torch.equal(one.half(), other.half())
    dataset.fill(run, plan="stamps", count=EXAMPLE_COUNT, print_line=lambda _: None)
    flow.train(run, make_budget(1), plan="stamps", token_count=TOKEN_COUNT)
    assert torch.load(tmp_path / "transformer.pt", weights_only=True)["step"] == 3
    with pytest.raises(FileExistsError):
        export.reopen(run, exported)


def test_prepainted_pictures_are_encoded_like_new_ones(
    trained: TrainingRun, copied: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    run = copied("decoder")
    (run.folder / "pool").unlink()
    dataset.prepaint(run, plan="stamps", count=EXAMPLE_COUNT, print_line=lambda _: None)
    painted = run.folder / "painted" / "stamps"
    assert len(list(painted.iterdir())) == 3
    dataset.fill(run, plan="stamps", count=EXAMPLE_COUNT, print_line=lambda _: None)
    assert not list(painted.iterdir())
    for one, other in zip(
        dataset.load_datasets(trained, plan="stamps"), dataset.load_datasets(run, plan="stamps"), strict=True
    ):
        assert torch.equal(one.targets_NCHW, other.targets_NCHW)


def test_a_dataset_grows_by_the_missing_shards(copied: Callable[..., TrainingRun]) -> None:
    run = copied("decoder")
    (run.folder / "pool").unlink()
    for count in (4, 8):
        said: list[str] = []
        dataset.fill(run, plan="stamps", count=count * dataset.SHARD_SIZE, print_line=said.append)
        assert len(said) == 4
    assert [len(each.tokens_NKL) for each in dataset.load_datasets(run, plan="stamps")] == [256, 128, 128]


def test_an_orthogonalized_step_moves_every_direction() -> None:
    drawn = torch.Generator().manual_seed(0)
    for shape in ((8, 24), (24, 8)):
        matrix = torch.randn(shape, generator=drawn) * torch.logspace(0, -2, shape[1])
        values = torch.linalg.svdvals(muon.orthogonalize(matrix))
        assert float(values.min()) > 0.5
        assert float(values.max()) < 1.3


def test_the_optimizer_minimizes_the_loss_of_matrices_and_other_weights() -> None:
    drawn = torch.Generator().manual_seed(0)
    wanted = [torch.randn(4, 3, 3, 3, generator=drawn), torch.randn(5, generator=drawn)]
    weights_ = [torch.zeros_like(each).requires_grad_() for each in wanted]
    optimizer = muon.Muon(weights_, learning_rate=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        sum(((one - other) ** 2).sum() for one, other in zip(weights_, wanted, strict=True)).backward()
        optimizer.step()
    for one, other in zip(weights_, wanted, strict=True):
        assert float((one - other).detach().abs().max()) < 0.3


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Run the stage encoder first"):
        autoencoder.load_trained(make_run(tmp_path))


def test_tokens_are_those_of_the_pipeline(trained: TrainingRun) -> None:
    from demo_model.networks import build_tokenizer  # noqa: PLC0415

    known = build_tokenizer(TINY)
    text_ = known.apply_chat_template(
        [{"role": "user", "content": "A cute robot"}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    split = known(text_, padding="max_length", truncation=True, max_length=48, return_tensors="pt")
    assert torch.equal(split["input_ids"], tokenize(["A cute robot"], TINY))
