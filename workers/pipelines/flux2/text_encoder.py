"""The encoder of prompts for FLUX.2-klein's transformer, driven from the text encoder's parts, and its cache.

Shapes: B prompts, L tokens of each, D the transformer's width.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import torch
from cachetools import LRUCache
from diffusers import Flux2KleinPipeline
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.masking_utils import create_causal_mask

from workers.catalogue import ImageModel
from workers.engine.interface import EngineError, Misconfigured, PromptTokens
from workers.pipelines.flux2.prompt_template import PromptTemplate
from workers.pipelines.runtime import loading
from workers.pipelines.runtime.compilation import Compiler, Work
from workers.pipelines.runtime.device import Device

# An encoded prompt of klein-4B is 3 MB.
MAX_CACHED_PROMPTS: Final = 64


class EncodedPrompts(NamedTuple):
    """Prompts as the transformer's blocks take them, (B, L, D), and the number of each one's tokens."""

    text_BLD: torch.Tensor
    tokens: list[PromptTokens]


class _Encoded(NamedTuple):
    text_1LD: torch.Tensor
    tokens: PromptTokens


class PromptEncoder:
    """Qwen3 up to the deepest layer that an embedding is taken from."""

    def __init__(
        self,
        *,
        pipeline: Flux2KleinPipeline,
        device: Device,
        length: int,
        template: PromptTemplate,
        out_layers: Sequence[int],
        embed: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        """Take `embed`, which turns a prompt's embeddings into the tensor to keep. Raise EngineError."""
        self._tokenizer = pipeline.tokenizer
        self._template = template
        self._model = pipeline.text_encoder.model
        self._device = device
        self._length = length
        self._out_layers = out_layers
        deepest_layer = max(out_layers)
        self._layers = self._model.layers[:deepest_layer]
        # Its norm follows the last layer of all.
        self._norms = deepest_layer == len(self._model.layers)
        self._embed = embed
        self._cache: LRUCache[str, _Encoded] = LRUCache(MAX_CACHED_PROMPTS)
        self._graph: Work | None = None
        if self._model.has_sliding_layers:
            raise Misconfigured(
                "the text encoder has layers with sliding attention, which this adapter does not support"
            )

    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """Return the encoded prompts. A prompt that came before is not encoded again."""
        known = {prompt: self._cache[prompt] for prompt in prompts if prompt in self._cache}
        fresh = list(dict.fromkeys(prompt for prompt in prompts if prompt not in known))
        if fresh:
            fitted = [self._template.fit(prompt) for prompt in fresh]
            ids_and_mask = self._tokenize([each.text for each in fitted])
            with self._device.measure_work():
                texts = self._encode_texts(*ids_and_mask)
            counts = [each.tokens for each in fitted]
            known.update(zip(fresh, map(_Encoded, texts, counts), strict=True))
            self._cache.update(known)
        encoded = [known[prompt] for prompt in prompts]
        return EncodedPrompts(
            torch.cat([each.text_1LD for each in encoded]), [each.tokens for each in encoded]
        )

    def compile(self, compiler: Compiler) -> None:
        """Compile the layers, and capture the encoding of one prompt as one graph."""
        compiler.compile(self._layers, dynamic=False)
        self._graph = compiler.capture_graph(self._encode_text, *self._tokenize([""]))

    def _encode_texts(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> list[torch.Tensor]:
        work = self._graph
        if work is None:
            return list(self._encode_text(ids_BL, mask_BL)[0].split(1))
        return [work(*one)[0] for one in zip(ids_BL.split(1), mask_BL.split(1), strict=True)]

    def _tokenize(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Put each prompt into the chat template, cut or padded to its length, as the pipeline does."""
        chats = [self._template.fill(prompt) for prompt in prompts]
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
        for layer in self._layers:
            states.append(layer(states[-1], attention_mask=mask, position_embeddings=rotary))
        if self._norms:
            states[-1] = model.norm(states[-1])
        return (self._embed(torch.cat([states[layer] for layer in self._out_layers], dim=-1)),)


def load_text_encoder(
    folder: str, *, model: ImageModel, device: torch.device, out_layers: Sequence[int]
) -> Qwen3ForCausalLM:
    """Return the folder's text encoder without the layers behind those that embeddings are taken from.

    The weights of these layers are not read. The norm behind the last layer is then left out too, so that the last
    state is what this layer returns. Raise EngineError.
    """
    source: dict[str, Any] = {"model": model, "weights": folder, "subfolder": "text_encoder"}
    config = loading.load_component(Qwen3Config, **source)
    layer_count, deepest_layer = config.num_hidden_layers, max(out_layers)
    if deepest_layer > layer_count:
        raise Misconfigured(
            f"the model {model.name} has text_encoder_out_layers = {list(out_layers)!r}, but its text encoder has"
            f" {layer_count} layers"
        )
    if deepest_layer == layer_count:
        return loading.load_weights(Qwen3ForCausalLM, device=device, **source)
    config.num_hidden_layers = max(1, deepest_layer)
    config.layer_types = config.layer_types[: config.num_hidden_layers]
    # The library would warn of every tensor of the layers that are left out.
    encoder, found = loading.load_weights(
        Qwen3ForCausalLM, device=device, config=config, output_loading_info=True, warns=False, **source
    )
    if found["missing_keys"]:
        raise EngineError(
            f"the weights of {model.name} lack {min(found['missing_keys'])} of the text encoder"
        )
    encoder.model.norm = torch.nn.Identity()
    return encoder
