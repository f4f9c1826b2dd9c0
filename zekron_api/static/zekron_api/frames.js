// A frame of the playground: one generation, from its place in the queue to its picture.

import { isOpen, watch } from "./events.js";
import { usd } from "./quote.js";

const CLOCK_MS = 100;

function queueText({ queue }) {
  if (!queue) return "Queued";
  const place = queue.position === 0 ? "next in turn" : queue.position ? `${queue.position} ahead` : "many ahead";
  return `Queued: ${place}${queue.eta_seconds === null ? "" : `, about ${queue.eta_seconds} s`}`;
}

/** The element of one generation. `listeners` are told of what the buttons ask for, and of the end. */
export class Frame {
  constructor(template, generation, { api, listeners, request = null }) {
    Object.assign(this, { api, listeners, request, generation });
    this.element = template.content.firstElementChild.cloneNode(true);
    this.begun = Date.parse(generation.created_at);
    this.#part("prompt").textContent = generation.prompt;
    // Until the picture is there, its place has its shape.
    this.#part("picture").style.aspectRatio = generation.size.replace("x", " / ");
    this.element.addEventListener("click", (event) => this.#act(event.target.closest("[data-act]")?.dataset.act));
    if (isOpen(generation)) this.#watch();
    else this.#finish(generation);
  }

  get id() {
    return this.generation.id;
  }

  #watch() {
    // The clock of the server may differ, so a generation that has just begun counts from now.
    const now = Date.now();
    if (this.begun > now || now - this.begun < 2000) this.begun = now;
    this.#onState(this.generation);
    this.clock = setInterval(() => this.#showTime(), CLOCK_MS);
    watch(this.api, this.id, {
      onState: (state) => this.#onState(state),
      onProgress: (progress) => this.#onProgress(progress),
      onPartial: (partial) => this.#onPartial(partial),
      onEnd: (generation) => {
        this.#finish(generation);
        this.listeners.ended(this);
      },
      onLost: (error) => this.#fail(error.message),
    });
  }

  #onState(state) {
    const text = state.status === "running" ? "Being made" : queueText(state);
    this.#say(state.cancel_requested ? "Being cancelled" : text);
    if (state.status === "queued") this.#part("progress").removeAttribute("value");
  }

  #onProgress({ step, steps }) {
    this.#say(`Step ${step} of ${steps}`);
    this.#part("progress").value = step / steps;
  }

  #onPartial({ mime_type: type, b64_json: content }) {
    const picture = this.#part("image");
    Object.assign(picture, { src: `data:${type};base64,${content}`, alt: "", hidden: false });
    picture.classList.add("is-partial");
  }

  #showTime() {
    this.#part("time").textContent = `${((Date.now() - this.begun) / 1000).toFixed(1)} s`;
  }

  #finish(generation) {
    this.generation = generation;
    clearInterval(this.clock);
    this.#part("cancel").hidden = true;
    if (generation.status !== "completed") return this.#fail(generation.error?.message ?? "It ended without a picture.");
    if (Date.parse(generation.image.expires_at) <= Date.now()) return this.#fail("This picture was deleted.");
    this.#showPicture(generation);
  }

  #showPicture(generation) {
    const url = this.api.pictureUrl(generation.id);
    const picture = this.#part("image");
    picture.classList.remove("is-partial");
    Object.assign(picture, { src: url, alt: generation.prompt, hidden: false });
    this.#part("state").hidden = true;
    this.#part("facts").textContent = [generation.size.replace("x", "×"), `seed ${generation.seed}`, usd(generation.cost)].join(" · ");
    const expiry = this.#part("expiry");
    expiry.dateTime = generation.image.expires_at;
    expiry.hidden = false;
    const name = `zekron-${generation.id}.${generation.output_format}`;
    Object.assign(this.#part("download"), { href: url, download: name });
    this.#part("open").href = this.listeners.pageOf(generation.id);
    for (const act of this.element.querySelectorAll("[data-needs=picture]")) act.hidden = false;
    // The source images of an edit go with its end, so only the page that sent them can send them again.
    this.#part("again").hidden = !this.listeners.mayGenerate || (generation.type === "edit" && !this.request);
    this.#part("source").hidden = !this.listeners.mayGenerate;
  }

  #fail(message) {
    clearInterval(this.clock);
    this.#say(message);
    this.#part("image").hidden = true;
    this.#part("cancel").hidden = true;
    this.#part("progress").hidden = true;
    this.#part("time").textContent = "";
    this.element.classList.add("is-failed");
  }

  async #act(act) {
    if (act === "cancel") await this.#cancel();
    else if (act) this.listeners[act]?.(this);
  }

  async #cancel() {
    this.#say("Being cancelled");
    this.#part("cancel").hidden = true;
    try {
      await this.api.cancel(this.id);
    } catch (error) {
      // It may have ended meanwhile, which its events tell.
      if (error.type !== "already_ended") this.listeners.failed(error);
    }
  }

  #say(text) {
    this.#part("text").textContent = text;
  }

  #part(name) {
    return this.element.querySelector(`[data-part=${name}]`);
  }
}
