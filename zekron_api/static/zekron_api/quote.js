// The price of the request before it is sent, asked for a moment after the last change.

const PAUSE_MS = 300;
const PARTS = { base: "base", size: "size", source_images: "source images", minimum: "minimum", maximum: "maximum" };

/** Return an amount of the API with its currency. */
export function usd(amount) {
  return `${amount} USD`;
}

function waitOf(quote) {
  if (quote.estimated_wait_seconds === null) return "no worker is there now";
  return quote.estimated_wait_seconds < 2 ? "starts at once" : `starts in about ${quote.estimated_wait_seconds} s`;
}

function partsOf(quote) {
  if (quote.breakdown.length < 2) return "";
  return quote.breakdown.map((line) => `${PARTS[line.what]} ${line.amount}`).join(" + ");
}

/** Shows the price inside `root`. `bodyOf` returns the request, in which images may be their number. */
export class Quote {
  constructor(root, { api, bodyOf, onError }) {
    Object.assign(this, { root, api, bodyOf, onError, timer: 0, aborter: null, last: "" });
  }

  /** Ask for the price soon, unless the request that decides it is the same as before. */
  refresh({ force = false } = {}) {
    clearTimeout(this.timer);
    if (force) this.last = "";
    this.timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  async #ask() {
    const body = await this.bodyOf();
    const asked = JSON.stringify(body);
    if (asked === this.last) return;
    this.last = asked;
    this.aborter?.abort();
    this.aborter = new AbortController();
    try {
      this.#show(await this.api.quote(body, this.aborter.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.last = "";
      this.#write({ cost: "–", parts: "", rest: "" });
      this.onError(error);
    }
  }

  #show(quote) {
    this.#write({
      cost: usd(quote.cost),
      parts: partsOf(quote),
      rest: `${usd(quote.available)} available, ${waitOf(quote)}`,
    });
    this.root.classList.toggle("is-short", !quote.affordable);
    if (!quote.affordable) this.#write({ rest: `Only ${usd(quote.available)} available. It must be topped up first.` });
    this.onError(null);
  }

  #write(texts) {
    for (const [name, text] of Object.entries(texts)) {
      this.root.querySelector(`[data-quote=${name}]`).textContent = text;
    }
  }
}
