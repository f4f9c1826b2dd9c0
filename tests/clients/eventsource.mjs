// Watch a stream with the npm package `eventsource`, and write each event as a line of JSON until the client stops.
// Usage: node eventsource.mjs URL KEY [BODY]. With a BODY the stream is the reply to a POST under an Idempotency-Key.
import { EventSource } from "eventsource";

const [url, key, body] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}` };
if (body) Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": "eventsource" });

const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, { ...init, method: body ? "POST" : "GET", body, headers: { ...init.headers, ...headers } }),
});
// The package lets the process end while it waits to connect again.
setInterval(() => {}, 60_000);
const write = (line) => console.log(JSON.stringify(line));

for (const name of ["status", "progress", "partial_image", "completed", "failed", "cancelled"]) {
  source.addEventListener(name, (event) =>
    write({ event: name, id: Number(event.lastEventId), data: JSON.parse(event.data) }),
  );
}
source.addEventListener("open", () => write({ event: "open" }));
source.addEventListener("error", (error) => {
  write({ event: "error", code: error.code ?? null });
  if (source.readyState === EventSource.CLOSED) process.exit(error.code === 204 ? 0 : 1);
});
