// The request as a program: fills the marked lines of the examples with values, written as literals of each language.

// Characters that an editor would not show, and halves of characters.
const HIDDEN = /[\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ud800-\udfff]/gu;
// The fields that OpenAI's library knows by name. It takes others in `extra_body`.
const OF_OPENAI = ["prompt", "model", "size", "n", "output_format", "output_compression"];
// A marked line: all up to the literal, the literal, and its end before the comment with the mark.
const MARKED = /^(.*?= ?)(.*?)(;?) *(?:#|\/\/) <(request|names)>$/;

/** Return the text with each matching character replaced by `write(its number in hex)`. */
function escaped(text, pattern, write) {
  return text.replace(pattern, (character) => write(character.codePointAt(0).toString(16)));
}

/** Escape hidden characters in JSON, whose strings Python and JavaScript read too. */
function visible(written) {
  return escaped(written, HIDDEN, (hex) => `\\u${hex.padStart(4, "0")}`);
}

/** Return a string, a number or an object of these in JSON. */
function json(value) {
  return visible(JSON.stringify(value));
}

/** Return a number, or a string of PHP in double quotes, in which a dollar sign would begin a variable. */
function php(value) {
  if (typeof value === "number") return String(value);
  const named = { "\\": "\\\\", '"': '\\"', $: "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const text = value.replace(/[\\"$\n\r\t]/g, (character) => named[character]);
  const shown = escaped(text, HIDDEN, (hex) => `\\u{${hex}}`);
  return `"${escaped(shown, /\p{Cc}/gu, (hex) => `\\u{${hex}}`)}"`;
}

/** Return a word of the shell in single quotes, in which every other character stands for itself. */
function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Return an object over several lines. `pair` writes an entry from its name and value. */
function block(request, open, close, { pair, indent, outer = "" }) {
  const lines = Object.entries(request).map(([name, value]) => `${outer}${indent}${pair(name, value)},\n`);
  return `${open}\n${lines.join("")}${outer}${close}`;
}

function python(request, outer = "") {
  const write = (value) => (typeof value === "object" ? python(value, `${outer}    `) : json(value));
  return block(request, "{", "}", { pair: (name, value) => `"${name}": ${write(value)}`, indent: "    ", outer });
}

function forOpenai(request) {
  const [known, others] = [true, false].map((isKnown) =>
    Object.entries(request).filter(([name]) => OF_OPENAI.includes(name) === isKnown),
  );
  const more = others.length ? { extra_body: Object.fromEntries(others) } : {};
  return python({ ...Object.fromEntries(known), ...more });
}

function list(names) {
  return `[${names.map(json).join(", ")}]`;
}

const LANGUAGES = {
  sh: {
    request: (request) => shell(visible(JSON.stringify(request, null, 2))),
    names: (names) => `(${names.map(shell).join(" ")})`,
  },
  py: { request: (request) => python(request), names: list },
  mjs: {
    request: (request) => block(request, "{", "}", { pair: (name, value) => `${name}: ${json(value)}`, indent: "  " }),
    names: list,
  },
  php: {
    request: (request) =>
      block(request, "[", "]", { pair: (name, value) => `"${name}" => ${php(value)}`, indent: "    " }),
    names: (names) => `[${names.map(php).join(", ")}]`,
  },
  openai: { request: forOpenai, names: list },
};

/**
 * Return the text of an example with these values.
 *
 * The request is an object of strings and numbers, and `names` are the files of its source images. A part between
 * `<sources>` and `</sources>` is left out without them.
 */
export function fill(text, { language, request, names, url }) {
  const literals = LANGUAGES[language];
  const format = request.output_format ?? "png";
  const part = names.length ? /^.*<\/?sources>\n/gm : /^.*<sources>\n[^]*?<\/sources>\n/gm;
  return text
    .replaceAll("http://localhost:8000", url)
    .replace(/(image-[^\s"'`]*)\.png/g, `$1.${format}`)
    .replace(part, "")
    .split("\n")
    .map((line) => fillLine(line, { request: () => literals.request(request), names: () => literals.names(names) }))
    .join("\n");
}

function fillLine(line, literals) {
  const marked = MARKED.exec(line);
  return marked ? `${marked[1]}${literals[marked[4]]()}${marked[3]}` : line;
}
