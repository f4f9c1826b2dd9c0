// The start page: a visitor chooses a prompt, and watches the picture being made by the events of the service.

const panel = document.querySelector(".showcase");
const image = panel.querySelector("img");
const hint = panel.querySelector(".picture p");
const bar = panel.querySelector("progress");
const status = panel.querySelector(".status");
const buttons = [...panel.querySelectorAll("[data-prompt]")];

const FREE = "Nothing was charged. Try again.";
// A stream that the service refuses, because too many visitors watch, is asked for again.
const RETRY_SECONDS = 3;
const MAX_REFUSALS = 20;

function show(source, prompt) {
  image.src = source;
  image.alt = prompt;
  image.hidden = false;
  hint.hidden = true;
}

function finish(text) {
  status.textContent = text;
  bar.hidden = true;
  for (const button of buttons) button.disabled = false;
}

function watch(id, prompt, refusals = 0) {
  const address = `${panel.dataset.make}/${id}`;
  const events = new EventSource(`${address}/events`);
  const read = (event) => JSON.parse(event.data);
  events.addEventListener("status", (event) => {
    const { status: state, queue } = read(event);
    const place = queue?.position ? `${queue.position} before it in the queue.` : "A worker is about to begin.";
    status.textContent = state === "running" ? "The picture is being made." : place;
  });
  events.addEventListener("progress", (event) => {
    const { step, steps, fraction } = read(event);
    bar.value = fraction;
    status.textContent = `Step ${step} of ${steps}.`;
  });
  events.addEventListener("partial_image", (event) => {
    const { mime_type: type, b64_json: bytes } = read(event);
    show(`data:${type};base64,${bytes}`, `A rough picture of: ${prompt}`);
  });
  events.addEventListener("completed", (event) => {
    events.close();
    const { cost, started_at: start, ended_at: end } = read(event);
    const seconds = (new Date(end) - new Date(start)) / 1000;
    show(`${address}/image`, prompt);
    finish(`Made in ${seconds.toFixed(1)} seconds, for ${cost} USD.`);
  });
  events.addEventListener("error", () => {
    // The browser opens a stream that breaks again by itself, and gives one up that was refused.
    if (events.readyState !== EventSource.CLOSED) return;
    if (refusals === MAX_REFUSALS) return finish("Too many visitors watch pictures now. Try again later.");
    setTimeout(() => watch(id, prompt, refusals + 1), RETRY_SECONDS * 1000);
  });
  for (const end of ["failed", "cancelled"]) {
    events.addEventListener(end, () => {
      events.close();
      finish(`This picture was not made. ${FREE}`);
    });
  }
}

async function make(button) {
  for (const each of buttons) each.disabled = true;
  bar.hidden = false;
  bar.removeAttribute("value");
  status.textContent = "Asking for a picture.";
  try {
    const reply = await fetch(panel.dataset.make, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: Number(button.dataset.prompt) }),
    });
    const { data, error } = await reply.json();
    if (error) finish(error.message);
    else watch(data.id, button.textContent);
  } catch {
    finish("The service did not answer. Try again.");
  }
}

for (const button of buttons) button.addEventListener("click", () => make(button));
