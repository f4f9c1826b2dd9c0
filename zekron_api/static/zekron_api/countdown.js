// The time that is left until a picture is deleted: in every <time data-countdown>, also in those that come later.

const STEP_SECONDS = 20;

/** Return the time that is left in words, such as `23 h`, `59 min` or `40 s`, or an empty text. */
export function timeLeft(seconds) {
  if (seconds <= 0) return "";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function show(element) {
  const left = timeLeft((Date.parse(element.dateTime) - Date.now()) / 1000);
  const text = left ? `Expires in ${left}` : "Expired";
  if (element.textContent !== text) element.textContent = text;
}

export function tick() {
  document.querySelectorAll("time[data-countdown][datetime]").forEach(show);
}

tick();
setInterval(tick, STEP_SECONDS * 1000);
