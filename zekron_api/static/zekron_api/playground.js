// The playground: it ties the form, the price, the frames and the programs together.

import { connect } from "./api.js";
import { tick } from "./countdown.js";
import { isOpen } from "./events.js";
import { Frame } from "./frames.js";
import { Orders } from "./orders.js";
import { Quote } from "./quote.js";
import * as request from "./request.js";
import { Remembered } from "./remembered.js";
import { fill } from "./snippets.js";
import { Sources } from "./sources.js";

const page = JSON.parse(document.getElementById("playground-page").textContent);
const form = document.getElementById("playground");
const frames = document.getElementById("frames");
const template = document.getElementById("frame");
const button = form.querySelector("[type=submit]");
const status = document.getElementById("status");
const notice = document.getElementById("notice");
const api = connect(page.api);
const orders = new Orders(api.generate);
const remembered = new Remembered(page.api);
const sources = new Sources(document.getElementById("sources"), { maxBytes: page.maxSourceBytes });
const context = { sources, models: page.models, rule: page.sizeRule, maxPartialImages: page.maxPartialImages };

const quote = new Quote(document.getElementById("quote"), { api, bodyOf: quoteBody, onError: showQuoteError });

async function quoteBody() {
  const { model, size, n } = request.fieldsOf(form, context);
  // Each image costs the same, so their number is enough, unless the service must see their shape.
  const images = size === request.LIKE_SOURCE ? await sources.encoded() : sources.items.length;
  return { prompt: "-", model, size, ...(n ? { n } : {}), ...(sources.items.length ? { images } : {}) };
}

function showQuoteError(error) {
  request.clearErrors(form);
  if (!error) return;
  const active = document.activeElement;
  if (!request.showFieldError(form, error)) complain(error);
  // The price is asked for while someone types, whose place must stay.
  active?.focus();
}

function complain(error) {
  notice.textContent = error ? error.message : "";
  notice.hidden = !error;
}

function announce(text) {
  status.textContent = text;
}

const listeners = {
  mayGenerate: page.mayGenerate,
  pageOf: (id) => `${page.gallery}/${id}`,
  failed: complain,
  ended(frame) {
    tick();
    const { status: end, cost } = frame.generation;
    announce(end === "completed" ? `Finished. It cost ${cost} dollars.` : `The picture was not made. It is free.`);
    if (page.mayGenerate) quote.refresh({ force: true });
  },
  source: (frame) => takeAsSource(frame.id),
  again(frame) {
    const { prompt, model, size, output_format: format } = frame.generation;
    const plain = { prompt, model, size, async: true, ...(format === "png" ? {} : { output_format: format }) };
    const { seed, n, ...same } = frame.request ?? plain;
    submit(() => same);
  },
};

function addFrame(generation, sent) {
  const frame = new Frame(template, generation, { api, listeners, request: sent });
  frames.prepend(frame.element);
  tick();
  document.getElementById("empty").hidden = true;
}

/** Return the generations that can be read now. The gallery has the others, too. */
async function readAll(ids) {
  const found = await Promise.all(ids.map((id) => api.generation(id).catch(() => null)));
  return found.filter(Boolean);
}

let isSending = false;

/** Buy the pictures of `makeBody()` once, however often the button is pressed or the request is sent again. */
async function submit(makeBody) {
  if (isSending) return;
  isSending = true;
  button.setAttribute("aria-disabled", "true");
  complain(null);
  try {
    const body = await makeBody();
    const first = await orders.place(body);
    const ids = first.group.length ? first.group : [first.id];
    remembered.add(ids);
    const others = await readAll(ids.slice(1));
    for (const generation of [first, ...others].reverse()) addFrame(generation, body);
    announce(ids.length > 1 ? `${ids.length} pictures are queued.` : "The picture is queued.");
    frames.firstElementChild.scrollIntoView({ block: "nearest", behavior: "smooth" });
    quote.refresh({ force: true });
  } catch (error) {
    if (!request.showFieldError(form, error)) complain(error);
    announce(error.message);
  } finally {
    isSending = false;
    button.removeAttribute("aria-disabled");
  }
}

async function takeAsSource(id) {
  try {
    const response = await fetch(api.pictureUrl(id));
    if (!response.ok) throw new Error("This picture is no longer kept, so it cannot be a source.");
    const blob = await response.blob();
    await sources.add([new File([blob], `zekron-${id}.${blob.type.split("/")[1]}`, { type: blob.type })]);
    form.elements.prompt.focus();
  } catch (error) {
    complain(error);
  }
}

function showCount() {
  const count = [...form.elements.prompt.value].length;
  const counter = document.getElementById("prompt-count");
  counter.textContent = `${count.toLocaleString("en")} of ${page.maxPromptCharacters.toLocaleString("en")}`;
  counter.classList.toggle("is-over", count > page.maxPromptCharacters);
}

/** Show the fields that the chosen model and format have. */
function adapt() {
  const input = form.elements;
  const model = request.modelOf(form, page.models);
  const show = (name, isShown) => (form.querySelector(`[data-field=${name}]`).hidden = !isShown);
  sources.allow(model.sources);
  input.n.max = model.max_n;
  document.getElementById("model-facts").textContent = model.facts;
  show("seed", model.takes_seed);
  show("negative_prompt", model.takes_negative_prompt);
  show("partial_images", model.takes_partial_images);
  show("output_compression", input.output_format.value !== "png");
  document.getElementById("custom-size").hidden = input.size.value !== request.CUSTOM;
  const like = [...input.size.options].find((option) => option.value === request.LIKE_SOURCE);
  like.hidden = like.disabled = sources.items.length === 0;
  if (like.disabled && like.selected) input.size.value = page.defaultSize;
}

function showPrograms() {
  const fields = request.fieldsOf(form, context);
  const filled = { ...fields, prompt: fields.prompt || page.examplePrompt };
  for (const panel of document.querySelectorAll("[data-program]")) {
    const program = page.programs[panel.dataset.program];
    const text = sources.items.length ? (program.edit ?? program.text) : program.text;
    panel.textContent = fill(text, { language: program.language, request: filled, names: sources.names, url: page.url });
  }
}

function refresh() {
  adapt();
  showCount();
  showPrograms();
  if (page.mayGenerate) quote.refresh();
}

async function recall() {
  const found = await readAll(remembered.ids);
  for (const generation of found) addFrame(generation, null);
  const open = found.filter(isOpen).length;
  if (open) announce(`${open} of your pictures are still being made.`);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  request.clearErrors(form);
  if (!form.elements.prompt.value.trim()) {
    request.showFieldError(form, { param: "prompt", message: "Write a prompt first." });
    return;
  }
  if (page.mayGenerate) submit(() => request.bodyOf(form, context));
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
form.addEventListener("input", refresh);
sources.root.addEventListener("change", (event) => {
  // Its own event has the list as its end. That of the file picker inside comes before it.
  if (!(event instanceof CustomEvent)) return;
  if (sources.items.length === 1 && form.elements.size.value === page.defaultSize) form.elements.size.value = request.LIKE_SOURCE;
  refresh();
});
sources.root.addEventListener("refused", ({ detail }) => {
  sources.root.querySelector(".errors").textContent = detail;
});

refresh();
recall();
if (page.source) takeAsSource(page.source);
