// One request in as few lines as possible. Needs Node 18 or newer and no packages.
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';

const request = { prompt: 'A serene mountain landscape at golden hour', size: '1024x1024' }; // <request>
// <sources>
const sources = []; // <names>
request.images = await Promise.all(sources.map(async (name) => ({ data: await readFile(name, 'base64') })));
// </sources>

const response = await fetch('http://localhost:8000/v1/generate', {
  method: 'POST',
  headers: {
    Authorization: `Bearer ${process.env.ZEKRON_API_KEY}`,
    'Content-Type': 'application/json',
    // Send the same key with a retry, so that an image whose response was lost is not paid for twice.
    'Idempotency-Key': randomUUID(),
  },
  body: JSON.stringify(request),
});
const { success, data, error } = await response.json();
if (!success) throw new Error(error.message);
for (const [index, each] of (data.images ?? [data]).entries()) {
  await writeFile(`image-${index}.png`, Buffer.from(each.image.b64_json, 'base64'));
}
