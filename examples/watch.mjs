// Submit an image without waiting, and watch its events:  node watch.mjs "A lighthouse in fog" lighthouse.png
// Needs Node 18 or newer and no packages.
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.env.ZEKRON_URL || 'http://localhost:8000';
const apiKey = process.env.ZEKRON_API_KEY;
const [prompt = 'A serene mountain landscape at golden hour', file = 'image.png'] = process.argv.slice(2);

const MAX_ATTEMPTS = 5;
const RETRY_STATUSES = [429, 502, 503, 504];

/**
 * Send a request and return what `read` makes of its response. Retry a failure that may pass after the time in
 * Retry-After.
 */
async function call(path, { headers, read = readBytes, ...options } = {}) {
  for (let attempt = 1; ; attempt++) {
    let waitSeconds = 2 ** (attempt - 1);
    let isLast = attempt === MAX_ATTEMPTS;
    let problem;
    try {
      const response = await fetch(url + path, {
        ...options,
        headers: { Authorization: `Bearer ${apiKey}`, ...headers },
      });
      if (response.ok) return await read(response);
      waitSeconds = Number(response.headers.get('Retry-After')) || waitSeconds;
      isLast ||= !RETRY_STATUSES.includes(response.status);
      const { error } = await response.json();
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

async function readBytes(response) {
  return Buffer.from(await response.arrayBuffer());
}

/** Print the events, and return the generation that the last one has, or nothing if the stream ends before. */
async function readEvents(response) {
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const frames = text.split('\n\n');
    text = frames.pop();
    for (const frame of frames) {
      // Here each event is written as three lines, and a comment comes every 15 seconds.
      const { event, data } = Object.fromEntries(frame.split('\n').map((line) => line.split(/: (.*)/)));
      if (['completed', 'failed', 'cancelled'].includes(event)) return JSON.parse(data);
      if (event) console.error(`${event}: ${data}`);
    }
  }
}

/** Return the generation when it has ended. The first event is the present state, so a new stream misses nothing. */
async function watch(id) {
  for (;;) {
    const generation = await call(`/v1/generations/${id}/events`, { read: readEvents });
    if (generation) return generation;
    await sleep(2000);
  }
}

try {
  if (!apiKey) throw new Error('Set ZEKRON_API_KEY to your API key.');
  const generation = await watch(await submit({ prompt, size: '1024x1024' }));
  if (generation.error) throw new Error(`${generation.error.message} (${generation.error.code})`);
  await writeFile(file, await call(`/v1/images/${generation.token}`));
  console.log(`${file}: cost ${generation.cost} USD`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
