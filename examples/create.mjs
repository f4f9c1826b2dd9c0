// Create an image from a prompt:  node create.mjs "A lighthouse in fog" lighthouse.png
// Needs Node 18 or newer and no packages.
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.env.ZEKRON_URL || 'http://localhost:8000';
const apiKey = process.env.ZEKRON_API_KEY;
const [prompt = 'A serene mountain landscape at golden hour', file = 'image.png'] = process.argv.slice(2);

const MAX_ATTEMPTS = 5;
const RETRY_STATUSES = [429, 502, 503, 504];

/** Post the request, and retry a failure that may pass after the time in Retry-After. */
async function post(request) {
  const headers = {
    Authorization: `Bearer ${apiKey}`,
    'Content-Type': 'application/json',
    // Every attempt sends the same key, so an image whose response was lost is not paid for twice.
    'Idempotency-Key': randomUUID(),
  };
  const options = { method: 'POST', headers, body: JSON.stringify(request) };
  for (let attempt = 1; ; attempt++) {
    let waitSeconds = 2 ** (attempt - 1);
    try {
      const response = await fetch(`${url}/v1/generate`, { ...options, signal: AbortSignal.timeout(150_000) });
      const text = await response.text();
      if (attempt === MAX_ATTEMPTS || !RETRY_STATUSES.includes(response.status)) return text;
      waitSeconds = Number(response.headers.get('Retry-After')) || waitSeconds;
    } catch (error) {
      if (attempt === MAX_ATTEMPTS) throw new Error(`No response: ${error.cause?.code ?? error.message}`);
    }
    console.error(`Retrying in ${waitSeconds} s.`);
    await sleep(waitSeconds * 1000);
  }
}

/** Generate an image and return the response's `data`, which has the PNG as base64. */
async function generate(request) {
  const { success, data, error } = JSON.parse(await post(request));
  if (!success) throw new Error(`${error.message} (${error.code})`);
  return data;
}

try {
  if (!apiKey) throw new Error('Set ZEKRON_API_KEY to your API key.');
  const made = await generate({ prompt, size: '1024x1024' });
  await writeFile(file, Buffer.from(made.image.b64_json, 'base64'));
  console.log(`${file}: cost ${made.cost} USD, remaining balance ${made.remaining_balance} USD`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
