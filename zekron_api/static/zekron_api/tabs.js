// Tabs by the ARIA pattern: arrow keys move between those of a role=tablist, and each shows its panel.

function select(tabs, chosen) {
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

for (const list of document.querySelectorAll("[role=tablist]")) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) select(tabs, tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const wanted = tabs.indexOf(document.activeElement) + step;
    const tab = Number.isFinite(wanted) ? tabs.at(wanted % tabs.length) : tabs.at(step < 0 ? 0 : -1);
    select(tabs, tab);
    tab.focus();
  });
  select(tabs, tabs[0]);
}
