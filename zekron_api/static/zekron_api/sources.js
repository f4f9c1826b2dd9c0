// The source images of an edit: picked, dropped or pasted, shown, put in order and removed.

const MEBIBYTE = 1024 * 1024;

/** Return the bytes of a file as base64. */
async function base64Of(file) {
  const address = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
  return address.slice(address.indexOf(",") + 1);
}

/** Return the width and the height of a picture, or null of one that this browser cannot show, such as HEIC. */
async function measure(url) {
  const picture = new Image();
  picture.src = url;
  try {
    await picture.decode();
    return [picture.naturalWidth, picture.naturalHeight];
  } catch {
    return null;
  }
}

/** The list of source images inside `root`. It emits `change` on `root`, and `refused` with a message. */
export class Sources {
  constructor(root, { maxBytes }) {
    this.root = root;
    this.maxBytes = maxBytes;
    this.max = 0;
    this.items = [];
    this.list = root.querySelector("[data-list]");
    this.input = root.querySelector("input[type=file]");
    this.template = root.querySelector("template");
    this.input.addEventListener("change", () => {
      this.add([...this.input.files]);
      // The same file may be picked again after it was removed.
      this.input.value = "";
    });
    this.list.addEventListener("click", (event) => this.#act(event.target.closest("button")));
    this.#acceptDrops();
    document.addEventListener("paste", (event) => this.#paste(event));
  }

  /** Let the list have at most this many images. Those that are there stay, and the service says if they are too many. */
  allow(max) {
    this.max = max;
    this.root.hidden = max === 0 && this.items.length === 0;
    this.#show();
  }

  /** Add files. Those that are no pictures, or too many, are refused with a message. */
  async add(files) {
    const problems = [];
    for (const file of files) {
      const problem = this.#problemOf(file);
      if (problem) problems.push(problem);
      else this.items.push(this.#itemOf(file));
    }
    this.#emit("refused", problems.join(" "));
    this.#changed();
    await Promise.all(this.items.map((item) => item.ready));
    this.#changed();
  }

  /** Return the images as the API takes them. */
  async encoded() {
    return Promise.all(this.items.map(async (item) => ({ data: await item.base64 })));
  }

  get names() {
    return this.items.map((item) => item.file.name);
  }

  #problemOf(file) {
    if (!file.type.startsWith("image/")) return `${file.name} is no picture.`;
    if (file.size > this.maxBytes) return `${file.name} is larger than ${this.maxBytes / MEBIBYTE} MiB.`;
    if (this.items.length < this.max) return "";
    return this.max === 0 ? "This model edits no images." : `This model takes at most ${this.max}. Remove one first.`;
  }

  #itemOf(file) {
    const item = { file, url: URL.createObjectURL(file), size: undefined, base64: base64Of(file) };
    item.ready = measure(item.url).then((size) => (item.size = size));
    return item;
  }

  #act(button) {
    if (!button) return;
    const index = [...this.list.children].indexOf(button.closest("li"));
    const [item] = this.items.splice(index, 1);
    if (button.dataset.act === "earlier") this.items.splice(index - 1, 0, item);
    else URL.revokeObjectURL(item.url);
    this.#emit("refused", "");
    this.#changed();
    const next = this.list.children[Math.min(index, this.items.length - 1)]?.querySelector("[data-act=remove]");
    (next ?? this.input).focus();
  }

  #changed() {
    this.#show();
    this.#emit("change");
  }

  #show() {
    this.list.replaceChildren(...this.items.map((item, index) => this.#row(item, index)));
    this.root.querySelector("[data-add]").hidden = this.items.length >= this.max;
    this.root.querySelector("[data-count]").textContent = this.max > 1 ? `up to ${this.max}` : "one";
  }

  #row(item, index) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    const picture = row.querySelector("img");
    if (item.size === null) picture.remove();
    else Object.assign(picture, { src: item.url, alt: "" });
    const size = item.size ? `, ${item.size.join("×")}` : "";
    row.querySelector("[data-name]").textContent = `${index + 1}. ${item.file.name}${size}`;
    row.querySelector("[data-act=earlier]").hidden = index === 0;
    for (const button of row.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent}: ${item.file.name}`);
    }
    return row;
  }

  #acceptDrops() {
    const zone = this.root;
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        zone.classList.add("is-target");
      });
    }
    zone.addEventListener("dragleave", (event) => {
      if (!zone.contains(event.relatedTarget)) zone.classList.remove("is-target");
    });
    zone.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      zone.classList.remove("is-target");
      this.add([...event.dataTransfer.files]);
    });
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length === 0) return;
    event.preventDefault();
    this.add(files);
  }

  #emit(name, detail) {
    this.root.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
