// The size of an edit that keeps the shape of its first image: the rule of the API's size `auto`, known before it is sent.

/** Return the allowed size of about a megapixel whose shape is closest to this one, such as `1184x880`. */
export function shapeLike(width, height, rule) {
  const ratio = Math.min(Math.max(width / height, 1 / rule.maxRatio), rule.maxRatio);
  const wide = Math.sqrt(rule.pixels * ratio);
  return [wide, wide / ratio].map((side) => rule.step * halfToEven(side / rule.step)).join("x");
}

/** Round as the service does. */
function halfToEven(value) {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}
