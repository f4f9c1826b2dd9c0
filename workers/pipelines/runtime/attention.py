"""The choice of torch's attention kernel for a transformer, by measuring each on the device.

diffusers' own calls of these kernels forbid torch all other kernels until the call ends, in the whole process. A text
encoder or a VAE in another thread would be left without a kernel that can do its work. This module therefore
registers calls of its own, which forbid nothing.
"""

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

from workers.engine.interface import EngineError, Misconfigured

log = logging.getLogger(__name__)

# Takes queries, keys and values of (batch, heads, tokens, width of a head).
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# The default of the option `attention`.
FASTEST: Final = "fastest"
# torch's own backends by diffusers' names. They need no other package, and differ by rounding alone.
NATIVE: Final = "native"
CANDIDATES: Final = (NATIVE, "_native_cudnn", "_native_flash")
# torch knows of versions in which a kernel is wrong, which a few trials do not show.
ALLOWED_BY_TORCH: Final = {
    "_native_cudnn": torch.backends.cuda.can_use_cudnn_attention,
    "_native_flash": torch.backends.cuda.can_use_flash_attention,
}
ROUNDS: Final = 5
CALLS: Final = 4
# As a share of the norm of the expected result. Rounding in bfloat16 comes to about 0.005.
MAX_DIFFERENCE: Final = 0.02


def select_backend(
    wanted: str,
    transformers: Sequence[Any],
    shape: tuple[int, int, int, int],
    *,
    model_name: str,
) -> None:
    """Make a model's transformers use the wanted backend, or the fastest one here for this shape.

    Raise EngineError if the backend does not work here.
    """
    dtype, device = transformers[0].dtype, transformers[0].device
    name = choose(shape, dtype=dtype, device=device) if wanted == FASTEST else wanted
    for transformer in transformers:
        use(name, transformer, shape, dtype=dtype)
    log.info("%s computes attention by %s", model_name, name)


def choose(shape: tuple[int, int, int, int], *, dtype: torch.dtype, device: torch.device) -> str:
    """Return the name of the fastest backend for queries, keys and values of this shape.

    The shape is (batch, tokens, heads, width of a head).
    """
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
            log.info("attention by %s is left out: torch would not choose it", name)
            continue
        try:
            difference = float((_attend(name, inputs) - expected).float().norm() / expected.float().norm())
            if difference <= MAX_DIFFERENCE:
                seconds[name] = _measure_seconds(name, inputs)
        except (RuntimeError, ValueError) as error:
            log.info("attention by %s is left out: %s", name, str(error).partition("\n")[0])
    for name, seconds_per_call in seconds.items():
        log.info(
            "attention by %s: %.3f ms for %s",
            name,
            1000 * seconds_per_call,
            "x".join(map(str, expected.shape)),
        )
    return min(seconds, key=seconds.__getitem__)


def use(name: str, transformer: Any, shape: tuple[int, int, int, int], *, dtype: torch.dtype) -> None:
    """Make a diffusers transformer use this backend. Raise EngineError if it does not work for it here."""
    active, _ = _AttentionBackendRegistry.get_active_backend()
    if name == NATIVE:
        return
    try:
        transformer.set_attention_backend(name)
        inputs = [torch.randn(shape, dtype=dtype, device=transformer.device) for _ in range(3)]
        if not torch.isfinite(_attend(name, inputs)).all():
            raise ValueError("its results are not finite numbers")
    except (ValueError, ImportError) as error:
        raise Misconfigured(f"attention = {name!r} does not work here: {error}") from error
    except RuntimeError as error:
        raise EngineError(f"attention = {name!r} does not work here: {error}") from error
    finally:
        # diffusers has made it the default of all models in the process.
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
    """Return the seconds of one call by the device's clock, as the median of several rounds."""
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
    """Make diffusers call the kernels of this module. May be called again."""
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
        # Each kernel supports only some masks, and torch knows which.
        by_torch = _AttentionBackendRegistry._backends[AttentionBackendName.NATIVE]
        result: torch.Tensor = by_torch(
            query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa=enable_gqa
        )
        return result

    return attend


def _attend_with_cudnn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    # Its result is wrong for tensors with another memory order.
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
