"""Which of torch's kernels a transformer's attention is computed by: the fastest here, found by trying."""

import logging
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    dispatch_attention_fn,
)

from workers.engine.interface import EngineError
from workers.pipelines.runtime import attention_kernels

attention_kernels.take_over()
logger = logging.getLogger(__name__)

# What an entry says that names none.
FASTEST = "fastest"
# torch's own, by diffusers' names: they need nothing else, and differ by no more than rounding.
PLAIN = "native"
CANDIDATES = (PLAIN, "_native_cudnn", "_native_flash")
# Whether torch itself would choose them here: it knows of versions in which they do harm, and a few tries show none.
HARMLESS = {
    "_native_cudnn": torch.backends.cuda.can_use_cudnn_attention,
    "_native_flash": torch.backends.cuda.can_use_flash_attention,
}
ROUNDS = 5
CALLS = 4
# Of the norm of what is right; in bfloat16 rounding makes some 0.005.
MAX_DIFFERENCE = 0.02


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
    logger.info("%s computes attention by %s", model_name, name)


def choose(shape: tuple[int, int, int, int], *, dtype: torch.dtype, device: torch.device) -> str:
    """The name of the fastest for queries, keys and values of this shape: (batch, tokens, heads, width of a head)."""
    if device.type != "cuda":
        return PLAIN
    generator = torch.Generator(device).manual_seed(0)
    return _fastest([torch.randn(shape, dtype=dtype, device=device, generator=generator) for _ in range(3)])


def _fastest(inputs: Sequence[torch.Tensor]) -> str:
    right = _attend(PLAIN, inputs)
    seconds = {PLAIN: _seconds(PLAIN, inputs)}
    for name in CANDIDATES[1:]:
        if not _is_harmless(name, inputs):
            logger.info("attention by %s: not here: torch would not choose it", name)
            continue
        try:
            difference = float((_attend(name, inputs) - right).float().norm() / right.float().norm())
            if difference <= MAX_DIFFERENCE:
                seconds[name] = _seconds(name, inputs)
        except (RuntimeError, ValueError) as problem:
            logger.info("attention by %s: not here: %s", name, str(problem).partition("\n")[0])
    for name, each in seconds.items():
        logger.info("attention by %s: %.3f ms for %s", name, 1000 * each, "x".join(map(str, right.shape)))
    return min(seconds, key=seconds.__getitem__)


def use(name: str, transformer: Any, shape: tuple[int, int, int, int], *, dtype: torch.dtype) -> None:
    """Has a transformer of diffusers use these kernels. Raises EngineError if they do not work for it here."""
    active, _ = _AttentionBackendRegistry.get_active_backend()
    if name == PLAIN:
        return
    try:
        transformer.set_attention_backend(name)
        inputs = [torch.ones(shape, dtype=dtype, device=transformer.device) for _ in range(3)]
        _attend(name, inputs)
    except (RuntimeError, ValueError, ImportError) as problem:
        raise EngineError(f"attention = {name!r} does not work here: {problem}") from problem
    finally:
        # It would change the attention of all other models in the process, too.
        _AttentionBackendRegistry.set_active_backend(active)


def _is_harmless(name: str, inputs: Sequence[torch.Tensor]) -> bool:
    query, key, value = (tensor.transpose(1, 2).contiguous() for tensor in inputs)
    return bool(HARMLESS[name](torch.backends.cuda.SDPAParams(query, key, value, None, 0.0, False, False)))


def _attend(name: str, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    result: torch.Tensor = dispatch_attention_fn(*inputs, backend=AttentionBackendName(name))
    return result


def _seconds(name: str, inputs: Sequence[torch.Tensor]) -> float:
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
