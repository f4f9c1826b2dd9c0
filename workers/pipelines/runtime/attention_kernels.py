"""torch's kernels of attention, each called by its own name: for diffusers, in place of its calls of the same kernels.

diffusers would forbid torch all the others until a call is over. That holds in the whole process: a text encoder or a
VAE in another thread would be left without a kernel that can do its work.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

# Queries, keys and values of (batch, heads, tokens, width of a head).
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def take_over() -> None:
    """From now on diffusers calls these. May be called again."""
    for name, kernel in KERNELS.items():
        constraints = _AttentionBackendRegistry._constraints[name]
        _AttentionBackendRegistry.register(name, constraints=constraints)(_called_alone(kernel))


def _called_alone(kernel: Kernel) -> Callable[..., torch.Tensor]:
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


def _by_cudnn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    # Of tensors in another order of memory it makes something wrong.
    in_order = [tensor.contiguous() for tensor in (query, key, value)]
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_cudnn_attention(*in_order, None, False)[0]
    return result


def _by_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    return result


def _by_efficient(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, False
    )[0]
    return result


def _by_math(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.aten._scaled_dot_product_attention_math(query, key, value)[0]
    return result


KERNELS: Final = {
    AttentionBackendName._NATIVE_CUDNN: _by_cudnn,
    AttentionBackendName._NATIVE_FLASH: _by_flash,
    AttentionBackendName._NATIVE_EFFICIENT: _by_efficient,
    AttentionBackendName._NATIVE_MATH: _by_math,
}
