// The Idempotency-Keys of what a page buys.

import { newKey } from "./api.js";

/**
 * Buys by `generate(body, key)`. An order whose reply was lost may have been accepted, so pressing again sends the same
 * key, and finds what was bought. Another body is another order.
 */
export class Orders {
  #unanswered = "";
  #key = "";

  constructor(generate) {
    this.generate = generate;
  }

  async place(body) {
    const asked = JSON.stringify(body);
    if (asked !== this.#unanswered) this.#key = newKey();
    this.#unanswered = asked;
    try {
      const bought = await this.generate(body, this.#key);
      this.#unanswered = "";
      return bought;
    } catch (error) {
      // The service has refused it for certain.
      if (error.status >= 400 && error.status < 500) this.#unanswered = "";
      throw error;
    }
  }
}
