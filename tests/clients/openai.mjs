// Calls of the npm package `openai`: what a caller gets, with the names of its types.
import fs from "node:fs";
import OpenAI, { toFile } from "openai";
import { serve } from "./calls.mjs";

const clientOf = ({ base_url, key, max_retries }) =>
  new OpenAI({ baseURL: base_url, apiKey: key, maxRetries: max_retries });

// Every way in which a file can be given, by its path.
const WAYS = {
  file: (path) => fs.createReadStream(path),
  bytes: (path) => toFile(fs.readFileSync(path)),
  named: (path) => toFile(fs.readFileSync(path), "boat.png"),
  typed: (path) => new File([fs.readFileSync(path)], "boat.png", { type: "image/png" }),
  response: (path) => new Response(fs.readFileSync(path)),
};

const asResult = async (promise) => {
  const { data, response, request_id } = await promise.withResponse();
  return { body: data, request_id, headers: Object.fromEntries(response.headers) };
};

const asEvents = async (promise) => {
  const events = [];
  for await (const event of await promise) events.push(event);
  return { events };
};

async function edit(client, { files, way, mask, one, body, headers }) {
  const image = await Promise.all(files.map((path) => WAYS[way](path)));
  const fields = { ...body, image: one ? image[0] : image, ...(mask ? { mask: await WAYS[way](mask) } : {}) };
  const promise = client.images.edit(fields, { headers });
  return body.stream ? asEvents(promise) : asResult(promise);
}

serve(
  {
    generate: ({ client, body, headers }) => {
      const promise = clientOf(client).images.generate(body, { headers });
      return body.stream ? asEvents(promise) : asResult(promise);
    },
    edit: ({ client, ...rest }) => edit(clientOf(client), rest),
    list_models: async ({ client }) => ({ models: (await clientOf(client).models.list()).data }),
    retrieve_model: ({ client, model }) => asResult(clientOf(client).models.retrieve(model)),
    vary: ({ client, files }) =>
      asResult(clientOf(client).images.createVariation({ image: fs.createReadStream(files[0]) })),
  },
  (error) => ({
    class: error.constructor.name,
    status: error.status ?? null,
    code: error.code ?? null,
    param: error.param ?? null,
    type: error.type ?? null,
    request_id: error.requestID ?? null,
    message: error.message,
  }),
);
