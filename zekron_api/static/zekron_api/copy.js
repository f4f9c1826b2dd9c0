// Buttons that copy the text of an element: <button type="button" data-copy="ID" hidden>Copy</button>.
// They stay hidden without this script. A screen reader hears that the text was copied.

const SHOWN_MS = 2000;
const status = document.createElement("p");
status.className = "visually-hidden";
status.setAttribute("role", "status");
document.body.append(status);

async function copy(element) {
  const text = element.textContent.trim();
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Pages over plain HTTP have no clipboard, and copy the selection.
  getSelection().selectAllChildren(element);
  if (!document.execCommand("copy")) throw new Error("the browser refused to copy");
}

async function onClick(event) {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const label = button.dataset.label ??= button.textContent;
  let said = "Copied";
  try {
    await copy(document.getElementById(button.dataset.copy));
  } catch {
    said = "Not copied. Select the text and copy it yourself.";
  }
  button.textContent = said === "Copied" ? said : "Not copied";
  status.textContent = said;
  setTimeout(() => {
    button.textContent = label;
    status.textContent = "";
  }, SHOWN_MS);
}

document.addEventListener("click", onClick);
for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
