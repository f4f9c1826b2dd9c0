// The menus in the head of a page, each a <details class="menu">: Escape and a click elsewhere close them, and one is open at a time.

const OPEN = "details.menu[open]";

/** Close the open menus except the one around `kept`. */
function closeOthers(kept) {
  for (const menu of document.querySelectorAll(OPEN)) {
    if (!menu.contains(kept)) menu.open = false;
  }
}

document.addEventListener("click", ({ target }) => closeOthers(target));
document.addEventListener("focusin", ({ target }) => closeOthers(target));
document.addEventListener("keydown", ({ key }) => {
  const menu = key === "Escape" ? document.querySelector(OPEN) : null;
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
