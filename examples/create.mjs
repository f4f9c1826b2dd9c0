// Makes an image from a prompt:  node create.mjs "A lighthouse in fog" lighthouse.png
// Needs Node 18 or newer, and nothing else.
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.env.ZEKRON_URL || 'http://localhost:8000';
const apiKey = process.env.ZEKRON_API_KEY;
const [prompt = 'A serene mountain landscape at golden hour', file = 'image.png'] = process.argv.slice(2);

const TRIES = 5;
const TRY_AGAIN = [429, 502, 503, 504];

/** Posts until there is an answer that is worth no retry; waits between as long as Retry-After says. */
async function post(request) {
  const headers = {
    Authorization: `Bearer ${apiKey}`,
    'Content-Type': 'application/json',
    // Every try sends the same key, so an image whose reply was lost is not paid for twice.
    'Idempotency-Key': randomUUID(),
  };
  const options = { method: 'POST', headers, body: JSON.stringify(request) };
  for (let tried = 1; ; tried++) {
    let waitSeconds = 2 ** (tried - 1);
    try {
      const response = await fetch(`${url}/v1/generate`, { ...options, signal: AbortSignal.timeout(150_000) });
      const text = await response.text();
      if (tried === TRIES || !TRY_AGAIN.includes(response.status)) return text;
      waitSeconds = Number(response.headers.get('Retry-After')) || waitSeconds;
    } catch (error) {
      if (tried === TRIES) throw new Error(`No answer: ${error.cause?.code ?? error.message}`);
    }
    console.error(`Trying again in ${waitSeconds} s.`);
    await sleep(waitSeconds * 1000);
  }
}

/** The reply's `data`, with the PNG as base64. */
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
