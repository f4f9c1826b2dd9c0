// Requests of the console's scripts: by the session of the page, with the CSRF token that the page carries.

const TRIES = 3;
const RETRY_STATUSES = [502, 504];

/** An error of the service, with the parts of its envelope. `param` is the field that it names, or an empty text. */
export class ApiError extends Error {
  constructor(message, { type = "", code = "", param = "", status = 0 } = {}) {
    super(message);
    Object.assign(this, { type, code, param, status });
  }
}

function csrfToken() {
  return JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
}

/** Return a new Idempotency-Key. `crypto.randomUUID` is missing on pages without https. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/** Return the `data` of the reply. Raises ApiError. A request with an Idempotency-Key is sent again if its reply is lost. */
async function send(url, { method = "GET", body, idempotencyKey, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal };
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt === TRIES || (method !== "GET" && !idempotencyKey);
    try {
      const response = await fetch(url, options);
      if (isLast || !RETRY_STATUSES.includes(response.status)) return await read(response);
    } catch (error) {
      if (error instanceof ApiError || error.name === "AbortError") throw error;
      if (isLast) throw new ApiError("The service cannot be reached. Check your connection, then try again.");
    }
    await pause(attempt);
  }
}

async function read(response) {
  if (response.status === 204) return null;
  const reply = await response.json().catch(() => null);
  if (response.ok && reply) return reply.data;
  const error = reply?.error ?? { message: "The service gave no answer. Try again in a few seconds." };
  throw new ApiError(error.message, { ...error, status: response.status });
}

/** Return the requests of one account, whose routes are below `base`. */
export function connect(base) {
  const of = (id, part = "") => `${base}/generations/${id}${part}`;
  return {
    generate: (body, idempotencyKey) => send(`${base}/generate`, { method: "POST", body, idempotencyKey }),
    quote: (body, signal) => send(`${base}/quote`, { method: "POST", body, signal }),
    balance: () => send(`${base}/balance`),
    generation: (id) => send(of(id)),
    cancel: (id) => send(of(id, "/cancel"), { method: "POST" }),
    eventsUrl: (id) => of(id, "/events"),
    pictureUrl: (id) => of(id, "/picture"),
    thumbnailUrl: (id) => of(id, "/thumbnail"),
  };
}
