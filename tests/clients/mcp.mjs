// Call the tools of an MCP server with the official client, and write each result as a line of JSON.
// Usage: node mcp.mjs URL KEY POOR_KEY. The key POOR_KEY has no money.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, key, poorKey] = process.argv.slice(2);
const write = (step, line) => console.log(JSON.stringify({ step, ...line }));

async function connect(bearer) {
  const client = new Client({ name: "test", version: "1" });
  const headers = { Authorization: `Bearer ${bearer}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  return client;
}

async function call(client, step, name, args, options) {
  const result = await client.callTool({ name, arguments: args }, undefined, options);
  const images = result.content.filter((block) => block.type === "image");
  write(step, {
    isError: result.isError ?? false,
    fields: result.structuredContent,
    images: images.map((block) => ({ mimeType: block.mimeType, data: block.data })),
  });
  return result;
}

const client = await connect(key);
write("server", client.getServerVersion());
const { tools } = await client.listTools();
write("tools", { names: tools.map((tool) => tool.name) });
await call(client, "quote", "quote", { size: "512x512" });
const boat = { prompt: "a boat", size: "512x512", idempotency_key: "boat" };
const made = await call(client, "made", "generate_image", boat);
await call(client, "again", "generate_image", boat);
const { data, mimeType } = made.content[0];
const edit = { prompt: "at night", size: "512x512", images: [{ data, mime_type: mimeType }] };
const edited = await call(client, "edited", "edit_image", edit);
await call(client, "read", "get_generation", { id: edited.structuredContent.id });
await call(client, "size", "generate_image", { prompt: "a boat", size: "7x7" });
await call(client, "balance", "get_balance", {});

// The client stops waiting, and reads the generation later.
const leaving = new AbortController();
const slow = { prompt: "leave", size: "512x512", idempotency_key: "leave" };
const left = client.callTool({ name: "generate_image", arguments: slow }, undefined, { signal: leaving.signal });
setTimeout(() => leaving.abort(), 50);
await left.catch((error) => write("left", { name: error.name }));
await call(client, "later", "generate_image", slow);
await client.close();

const poor = await connect(poorKey);
await call(poor, "poor", "generate_image", boat);
await poor.close();
await connect("zk_wrong").catch((error) => write("wrong", { code: error.code, message: error.message }));
