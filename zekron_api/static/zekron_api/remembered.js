// The generations that this tab has asked for, so that a reload finds them again. The service keeps all in the gallery.

const MAX_IDS = 24;

export class Remembered {
  constructor(account) {
    this.name = `zekron ${account}`;
  }

  /** Return the ids, the oldest first. */
  get ids() {
    try {
      return JSON.parse(sessionStorage.getItem(this.name)) ?? [];
    } catch {
      return [];
    }
  }

  add(ids) {
    try {
      sessionStorage.setItem(this.name, JSON.stringify([...this.ids, ...ids].slice(-MAX_IDS)));
    } catch {
      // A browser may keep nothing for a page. What was bought is in the gallery.
    }
  }
}
