"""Which of torch's kernels a transformer's attention is computed by: the fastest here, found by trying."""

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    dispatch_attention_fn,
)

from workers.engine.interface import EngineError

log = logging.getLogger(__name__)

# Queries, keys and values of (batch, heads, tokens, width of a head).
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# What an entry says that names none.
FASTEST: Final = "fastest"
# torch's own, by diffusers' names: they need nothing else, and differ by no more than rounding.
NATIVE: Final = "native"
CANDIDATES: Final = (NATIVE, "_native_cudnn", "_native_flash")
# Whether torch itself would choose them here: it knows of versions in which they do harm, and a few tries show none.
ALLOWED_BY_TORCH: Final = {
    "_native_cudnn": torch.backends.cuda.can_use_cudnn_attention,
    "_native_flash": torch.backends.cuda.can_use_flash_attention,
}
ROUNDS: Final = 5
CALLS: Final = 4
# Of the norm of what is expected; in bfloat16 rounding makes some 0.005.
MAX_DIFFERENCE: Final = 0.02


def select_backend(
    wanted: str,
    transformers: Sequence[Any],
    shape: tuple[int, int, int, int],
    *,
    model_name: str,
) -> None:
    """Has a model's transformers use what is wanted, or what is fastest here for this shape. Raises EngineError."""
    dtype, device = transformers[0].dtype, transformers[0].device
    name = choose(shape, dtype=dtype, device=device) if wanted == FASTEST else wanted
    for transformer in transformers:
        use(name, transformer, shape, dtype=dtype)
    log.info("%s computes attention by %s", model_name, name)


def choose(shape: tuple[int, int, int, int], *, dtype: torch.dtype, device: torch.device) -> str:
    """The name of the fastest for queries, keys and values of this shape: (batch, tokens, heads, width of a head)."""
    if device.type != "cuda":
        return NATIVE
    generator = torch.Generator(device).manual_seed(0)
    return _find_fastest(
        [torch.randn(shape, dtype=dtype, device=device, generator=generator) for _ in range(3)]
    )


def _find_fastest(inputs: Sequence[torch.Tensor]) -> str:
    expected = _attend(NATIVE, inputs)
    seconds = {NATIVE: _measure_seconds(NATIVE, inputs)}
    for name in CANDIDATES[1:]:
        if not _is_allowed(name, inputs):
            log.info("attention by %s: not here: torch would not choose it", name)
            continue
        try:
            difference = float((_attend(name, inputs) - expected).float().norm() / expected.float().norm())
            if difference <= MAX_DIFFERENCE:
                seconds[name] = _measure_seconds(name, inputs)
        except (RuntimeError, ValueError) as error:
            log.info("attention by %s: not here: %s", name, str(error).partition("\n")[0])
    for name, seconds_per_call in seconds.items():
        log.info(
            "attention by %s: %.3f ms for %s",
            name,
            1000 * seconds_per_call,
            "x".join(map(str, expected.shape)),
        )
    return min(seconds, key=seconds.__getitem__)


def use(name: str, transformer: Any, shape: tuple[int, int, int, int], *, dtype: torch.dtype) -> None:
    """Has a transformer of diffusers use these kernels. Raises EngineError if they do not work for it here."""
    active, _ = _AttentionBackendRegistry.get_active_backend()
    if name == NATIVE:
        return
    try:
        transformer.set_attention_backend(name)
        inputs = [torch.ones(shape, dtype=dtype, device=transformer.device) for _ in range(3)]
        _attend(name, inputs)
    except (RuntimeError, ValueError, ImportError) as error:
        raise EngineError(f"attention = {name!r} does not work here: {error}") from error
    finally:
        # It would change the attention of all other models in the process, too.
        _AttentionBackendRegistry.set_active_backend(active)


def _is_allowed(name: str, inputs: Sequence[torch.Tensor]) -> bool:
    query, key, value = (tensor.transpose(1, 2).contiguous() for tensor in inputs)
    return bool(
        ALLOWED_BY_TORCH[name](torch.backends.cuda.SDPAParams(query, key, value, None, 0.0, False, False))
    )


def _attend(name: str, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    result: torch.Tensor = dispatch_attention_fn(*inputs, backend=AttentionBackendName(name))
    return result


def _measure_seconds(name: str, inputs: Sequence[torch.Tensor]) -> float:
    """Of one call: the median of some rounds, by the device's clock."""
    rounds = []
    for _ in range(ROUNDS + 1):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(CALLS):
            _attend(name, inputs)
        end.record()
        end.synchronize()
        rounds.append(float(begin.elapsed_time(end)) / 1000 / CALLS)
    return statistics.median(rounds[1:])


def register_kernels() -> None:
    """From now on diffusers calls these. May be called again."""
    for name, kernel in KERNELS.items():
        constraints = _AttentionBackendRegistry._constraints[name]
        _AttentionBackendRegistry.register(name, constraints=constraints)(_wrap_kernel(kernel))


def _wrap_kernel(kernel: Kernel) -> Callable[..., torch.Tensor]:
    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        _parallel_config: Any = None,
    ) -> torch.Tensor:
        if attn_mask is None and scale is None and not (dropout_p or is_causal or enable_gqa):
            return kernel(*(tensor.transpose(1, 2) for tensor in (query, key, value))).transpose(1, 2)
        # Each kernel takes some masks and no others, and torch knows which.
        by_torch = _AttentionBackendRegistry._backends[AttentionBackendName.NATIVE]
        result: torch.Tensor = by_torch(
            query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa=enable_gqa
        )
        return result

    return attend


def _attend_with_cudnn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    # Of tensors in another order of memory it makes something wrong.
    contiguous = [tensor.contiguous() for tensor in (query, key, value)]
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_cudnn_attention(*contiguous, None, False)[0]
    return result


def _attend_with_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    return result


def _attend_with_efficient(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, False
    )[0]
    return result


def _attend_with_math(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_attention_math(query, key, value)[0]
    return result


KERNELS: Final[Mapping[AttentionBackendName, Kernel]] = {
    AttentionBackendName._NATIVE_CUDNN: _attend_with_cudnn,
    AttentionBackendName._NATIVE_FLASH: _attend_with_flash,
    AttentionBackendName._NATIVE_EFFICIENT: _attend_with_efficient,
    AttentionBackendName._NATIVE_MATH: _attend_with_math,
}

register_kernels()
