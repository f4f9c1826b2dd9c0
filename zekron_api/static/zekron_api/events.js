// Watches a generation until it ends: by its stream of events, or by polling where streams are scarce.

// A browser has six connections to a server, and streams of all its tabs would take them.
const MAX_STREAMS = 2;
const POLL_SECONDS = 1.5;
const ENDS = ["completed", "failed", "cancelled"];
let streamCount = 0;

export function isOpen(generation) {
  return !ENDS.includes(generation.status);
}

/**
 * Tell what happens to the generation: `onState({status, queue})`, `onProgress({step, steps})`, `onPartial({mime_type,
 * b64_json})`, and at last `onEnd(generation)`, or `onLost(error)` if it cannot be read any more.
 */
export function watch(api, id, listeners) {
  if (streamCount >= MAX_STREAMS) return poll(api, id, listeners);
  streamCount++;
  const source = new EventSource(api.eventsUrl(id));
  let isEnded = false;
  const on = (name, listener) => source.addEventListener(name, (event) => listener(JSON.parse(event.data)));
  on("status", listeners.onState);
  on("progress", listeners.onProgress);
  on("partial_image", listeners.onPartial);
  for (const name of ENDS) {
    on(name, (generation) => {
      isEnded = true;
      streamCount--;
      listeners.onEnd(generation);
    });
  }
  source.addEventListener("error", () => {
    // The server closes a stream after its end. A stream that breaks earlier is opened again by the browser.
    if (isEnded) source.close();
    // It gives up where the server refuses another stream.
    if (source.readyState !== EventSource.CLOSED || isEnded) return;
    streamCount--;
    poll(api, id, listeners);
  });
}

async function poll(api, id, listeners) {
  for (;;) {
    let generation;
    try {
      generation = await api.generation(id);
    } catch (error) {
      // A service that is away or busy for a moment comes back, and the work goes on meanwhile.
      if (error.status !== 0 && error.status !== 429 && error.status < 500) return listeners.onLost(error);
    }
    if (generation && !isOpen(generation)) return listeners.onEnd(generation);
    if (generation) listeners.onState(generation);
    if (generation?.progress) listeners.onProgress(generation.progress);
    await new Promise((resolve) => setTimeout(resolve, POLL_SECONDS * 1000));
  }
}
