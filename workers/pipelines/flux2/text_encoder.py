"""The encoder of prompts for FLUX.2-klein's transformer, driven from the text encoder's parts, and its cache.

Shapes: B prompts, L tokens of each, D the transformer's width.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from cachetools import LRUCache
from diffusers import Flux2KleinPipeline
from transformers.masking_utils import create_causal_mask

from workers.engine.interface import Misconfigured
from workers.pipelines.runtime.compilation import Compiler, Work
from workers.pipelines.runtime.device import Device

# An encoded prompt of klein-4B is 3 MB.
MAX_CACHED_PROMPTS: Final = 64


class PromptEncoder:
    """Qwen3 up to the deepest layer that an embedding is taken from; the layers behind it are dropped."""

    def __init__(
        self,
        *,
        pipeline: Flux2KleinPipeline,
        device: Device,
        length: int,
        out_layers: Sequence[int],
        embed: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        """Take `embed`, which turns a prompt's embeddings into the tensor to keep. Raise EngineError."""
        self._tokenizer = pipeline.tokenizer
        self._model = pipeline.text_encoder.model
        self._device = device
        self._length = length
        self._out_layers = out_layers
        self._embed = embed
        self._cache: LRUCache[str, torch.Tensor] = LRUCache(MAX_CACHED_PROMPTS)
        self._graph: Work | None = None
        if self._model.has_sliding_layers:
            raise Misconfigured(
                "the text encoder has layers with sliding attention, which this adapter does not support"
            )
        drop_unused_layers(self._model, out_layers)

    def encode(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the prompts as the transformer's blocks take them, (B, L, D)."""
        known = {prompt: self._cache[prompt] for prompt in prompts if prompt in self._cache}
        fresh = list(dict.fromkeys(prompt for prompt in prompts if prompt not in known))
        if fresh:
            tokens = self._tokenize(fresh)
            with self._device.measure_work():
                known.update(zip(fresh, self._encode_texts(*tokens), strict=True))
            self._cache.update(known)
        return torch.cat([known[prompt] for prompt in prompts])

    def compile(self, compiler: Compiler) -> None:
        """Compile the layers, and capture the encoding of one prompt as one graph."""
        compiler.compile(self._model.layers, dynamic=False)
        self._graph = compiler.capture_graph(self._encode_text, *self._tokenize([""]))

    def _encode_texts(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> list[torch.Tensor]:
        work = self._graph
        if work is None:
            return list(self._encode_text(ids_BL, mask_BL)[0].split(1))
        return [work(*one)[0] for one in zip(ids_BL.split(1), mask_BL.split(1), strict=True)]

    def _tokenize(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Put each prompt into the chat template, cut or padded to its length, as the pipeline does."""
        chats = [
            self._tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
            for prompt in prompts
        ]
        tokens = self._tokenizer(
            chats, return_tensors="pt", padding="max_length", truncation=True, max_length=self._length
        )
        return self._device.to_device(tokens["input_ids"]), self._device.to_device(tokens["attention_mask"])

    def _encode_text(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> tuple[torch.Tensor]:
        model = self._model
        states = [model.embed_tokens(ids_BL)]
        positions_1L = torch.arange(self._length, device=ids_BL.device).unsqueeze(0)
        mask = create_causal_mask(
            config=model.config,
            inputs_embeds=states[0],
            attention_mask=mask_BL,
            past_key_values=None,
            position_ids=positions_1L,
        )
        rotary = model.rotary_emb(states[0], positions_1L)
        for layer in model.layers:
            states.append(layer(states[-1], attention_mask=mask, position_embeddings=rotary))
        states[-1] = model.norm(states[-1])
        return (self._embed(torch.cat([states[layer] for layer in self._out_layers], dim=-1)),)


def drop_unused_layers(text_model: Any, out_layers: Sequence[int]) -> None:
    """Drop the layers behind those that embeddings are taken from, and the norm behind the last one left.

    A second call changes nothing.
    """
    deepest_layer = max(out_layers)
    if deepest_layer < len(text_model.layers):
        text_model.layers = text_model.layers[:deepest_layer]
        text_model.norm = torch.nn.Identity()
