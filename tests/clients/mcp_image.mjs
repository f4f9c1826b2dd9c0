// Calls of the tool of the npm package `mcp-image`, an MCP server that uses the npm package `openai`.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { serve } from "./calls.mjs";

const server = new URL("node_modules/mcp-image/dist/index.js", import.meta.url).pathname;

async function generate({ client: { base_url, key }, folder, input }) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [server],
    stderr: "ignore",
    env: {
      OPENAI_BASE_URL: base_url,
      OPENAI_API_KEY: key,
      IMAGE_PROVIDER: "openai",
      IMAGE_OUTPUT_DIR: folder,
      SKIP_PROMPT_ENHANCEMENT: "true",
    },
  });
  const client = new Client({ name: "test", version: "1.0.0" });
  await client.connect(transport);
  try {
    return await client.callTool({ name: "generate_image", arguments: input });
  } finally {
    await client.close();
  }
}

serve({ generate }, (error) => ({ class: error.name, message: error.message }));
