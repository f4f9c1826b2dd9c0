// Paint a part of an image in two variants:  node variants.mjs "A red boat" photo.jpg mask.png variant
// The mask is a PNG of the image's size, transparent where to paint.
// Needs Node 18 or newer and no packages.
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.env.ZEKRON_URL || 'http://localhost:8000';
const apiKey = process.env.ZEKRON_API_KEY;
const [prompt = 'Add a rainbow in the sky', source = 'image.png', maskFile = 'mask.png', name = 'variant'] =
  process.argv.slice(2);

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

/** Generate images and return the response's `data`, which has the files as base64. */
async function generate(request) {
  const { success, data, error } = JSON.parse(await post(request));
  if (!success) throw new Error(`${error.message} (${error.code})`);
  return data;
}

try {
  if (!apiKey) throw new Error('Set ZEKRON_API_KEY to your API key.');
  const original = { data: await readFile(source, 'base64') };
  const mask = { data: await readFile(maskFile, 'base64') };
  // The second image has the next seed.
  const wanted = { size: 'auto', n: 2, seed: 7, output_format: 'webp', output_compression: 80 };
  const made = await generate({ prompt, images: [original], mask, ...wanted });
  for (const { index, seed, image } of made.images) {
    await writeFile(`${name}-${index}.webp`, Buffer.from(image.b64_json, 'base64'));
    console.log(`${name}-${index}.webp: seed ${seed}`);
  }
  console.log(`cost ${made.total_cost} USD, remaining balance ${made.remaining_balance} USD`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
