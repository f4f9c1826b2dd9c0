// Calls of the npm package `ai` with both providers that can speak to this service.
import fs from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, RetryError, generateImage } from "ai";
import { serve } from "./calls.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const PROVIDERS = {
  openai: ({ base_url, key }, model) => createOpenAI({ baseURL: base_url, apiKey: key }).image(model),
  compatible: ({ base_url, key }, model) =>
    createOpenAICompatible({ name: "zekron", baseURL: base_url, apiKey: key }).imageModel(model),
};

async function generate({ client, provider, model, prompt, files, mask, options }) {
  const images = files?.map((path) => fs.readFileSync(path));
  const result = await generateImage({
    ...options,
    model: PROVIDERS[provider](client, model),
    prompt: images ? { text: prompt, images, ...(mask ? { mask: fs.readFileSync(mask) } : {}) } : prompt,
  });
  return {
    images: result.images.map((image) => ({ base64: image.base64, type: image.mediaType })),
    usage: result.usage,
    metadata: result.providerMetadata,
    responses: result.responses.map((response) => response.headers),
  };
}

function describe(error) {
  const errors = RetryError.isInstance(error) ? error.errors : [error];
  const last = errors.at(-1);
  const isCall = APICallError.isInstance(last);
  return {
    class: error.name,
    count: errors.length,
    status: last.statusCode ?? null,
    body: isCall && last.responseBody ? JSON.parse(last.responseBody) : null,
    request_id: last.responseHeaders?.["x-request-id"] ?? null,
    is_retryable: last.isRetryable ?? null,
    message: last.message,
  };
}

serve({ generate }, describe);
