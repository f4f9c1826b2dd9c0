// Submit an image without waiting, and poll until it is made:  node submit.mjs "A lighthouse in fog" lighthouse.png
// Needs Node 18 or newer and no packages.
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.env.ZEKRON_URL || 'http://localhost:8000';
const apiKey = process.env.ZEKRON_API_KEY;
const [prompt = 'A serene mountain landscape at golden hour', file = 'image.png'] = process.argv.slice(2);

const MAX_ATTEMPTS = 5;
const RETRY_STATUSES = [429, 502, 503, 504];

/** Send a request and return the bytes of its response. Retry a failure that may pass after the time in Retry-After. */
async function call(path, { headers, ...options } = {}) {
  for (let attempt = 1; ; attempt++) {
    let waitSeconds = 2 ** (attempt - 1);
    let isLast = attempt === MAX_ATTEMPTS;
    let problem;
    try {
      const response = await fetch(url + path, {
        ...options,
        headers: { Authorization: `Bearer ${apiKey}`, ...headers },
        signal: AbortSignal.timeout(90_000),
      });
      const content = Buffer.from(await response.arrayBuffer());
      if (response.ok) return content;
      waitSeconds = Number(response.headers.get('Retry-After')) || waitSeconds;
      isLast ||= !RETRY_STATUSES.includes(response.status);
      const { error } = JSON.parse(content);
      problem = `${error.message} (${error.code})`;
    } catch (error) {
      problem = `No response: ${error.cause?.code ?? error.message}`;
    }
    if (isLast) throw new Error(problem);
    console.error(`Retrying in ${waitSeconds} s.`);
    await sleep(waitSeconds * 1000);
  }
}

/** Submit the request and return the id of its generation. */
async function submit(request) {
  const content = await call('/v1/generate', {
    method: 'POST',
    // Every attempt sends the same key, so a request whose response was lost makes no second image.
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': randomUUID() },
    body: JSON.stringify({ ...request, async: true }),
  });
  return JSON.parse(content).data.id;
}

/** Return the generation when it has ended. Each request waits for the end, but no longer than 30 seconds. */
async function poll(id) {
  for (;;) {
    const { data } = JSON.parse(await call(`/v1/generations/${id}?wait=30`));
    if (!['queued', 'running'].includes(data.status)) return data;
  }
}

try {
  if (!apiKey) throw new Error('Set ZEKRON_API_KEY to your API key.');
  const generation = await poll(await submit({ prompt, size: '1024x1024' }));
  if (generation.error) throw new Error(`${generation.error.message} (${generation.error.code})`);
  await writeFile(file, await call(`/v1/images/${generation.token}`));
  console.log(`${file}: cost ${generation.cost} USD`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
