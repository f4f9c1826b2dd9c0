// The request that the form of the playground asks for, and the messages beside its fields.

import { shapeLike } from "./sizes.js";

// The choices of a size beside the listed ones.
export const CUSTOM = "custom";
export const LIKE_SOURCE = "auto";

export function modelOf(form, models) {
  return models.find((model) => model.name === form.elements.model.value);
}

/** Return the size as the API takes it. The shape of a source that the browser cannot read is `auto`. */
function sizeOf({ size, width, height }, sources, rule) {
  if (size.value === CUSTOM) return `${width.value}x${height.value}`;
  if (size.value !== LIKE_SOURCE) return size.value;
  const first = sources.items[0]?.size;
  return first ? shapeLike(...first, rule) : LIKE_SOURCE;
}

/** Return the fields of the request without its images: strings and numbers, and none that asks for the default. */
export function fieldsOf(form, { sources, models, rule }) {
  const input = form.elements;
  const model = modelOf(form, models);
  const format = input.output_format.value;
  const optional = {
    n: Number(input.n.value) > 1 && Number(input.n.value),
    seed: model.takes_seed && input.seed.value.trim() !== "" && Number(input.seed.value),
    negative_prompt: model.takes_negative_prompt && (input.negative_prompt.value.trim() || false),
    output_format: format !== "png" && format,
    output_compression: format !== "png" && input.output_compression.value !== "" && Number(input.output_compression.value),
    expires_in: input.expires_in.value !== "" && Number(input.expires_in.value),
  };
  const asked = Object.entries(optional).filter(([, value]) => value !== false);
  return { prompt: input.prompt.value, model: model.name, size: sizeOf(input, sources, rule), ...Object.fromEntries(asked) };
}

/** Return the body that buys the pictures: their page watches them. */
export async function bodyOf(form, context) {
  const fields = fieldsOf(form, context);
  const wantsPartials = modelOf(form, context.models).takes_partial_images && form.elements.partial_images.checked;
  return {
    ...fields,
    ...(wantsPartials ? { partial_images: context.maxPartialImages } : {}),
    ...(context.sources.items.length ? { images: await context.sources.encoded() } : {}),
    async: true,
  };
}

/** Show the message beside the field that the error names. Return whether there is such a field. */
export function showFieldError(form, error) {
  const field = error.param && form.querySelector(`[data-field="${CSS.escape(error.param)}"]`);
  if (!field || field.hidden) return false;
  const details = field.closest("details");
  if (details) details.open = true;
  field.querySelector(".errors").textContent = error.message;
  const input = [...field.querySelectorAll("textarea, input, select")].find((each) => !each.closest("[hidden]"));
  input?.setAttribute("aria-invalid", "true");
  input?.focus();
  return true;
}

export function clearErrors(form) {
  for (const line of form.querySelectorAll("[data-field] .errors")) line.textContent = "";
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}
