// The gallery: the countdowns of its cards, the cards of open generations, and a message where htmx gets an error.

import { tick } from "./countdown.js";

const REFRESH_SECONDS = 3;
// A gallery may show a hundred open generations.
const MAX_REFRESHED = 12;
const notice = document.getElementById("notice");

function complain(text) {
  notice.textContent = text;
  notice.hidden = text === "";
}

function isSeen(card) {
  const { top, bottom } = card.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

/** Ask for the cards of open generations again, as far as they are seen. */
function refresh() {
  if (document.hidden) return;
  const open = [...document.querySelectorAll(".picture[hx-trigger=refresh]")].filter(isSeen);
  for (const card of open.slice(0, MAX_REFRESHED)) card.dispatchEvent(new Event("refresh"));
}

setInterval(refresh, REFRESH_SECONDS * 1000);
document.body.addEventListener("htmx:afterSwap", tick);
document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.successful) complain("");
});
document.body.addEventListener("htmx:responseError", ({ detail }) => {
  const type = detail.xhr.getResponseHeader("Content-Type") ?? "";
  const error = type.includes("json") ? JSON.parse(detail.xhr.responseText).error : null;
  complain(error?.message ?? "That did not work. Load the page again.");
});
document.body.addEventListener("htmx:sendError", () => complain("The service cannot be reached. Check your connection."));
