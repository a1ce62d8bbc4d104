// What the theme and Sphinx leave undone for readers who do not see the page, or use no mouse.

/** A label that differs from the text one sees cannot be said aloud; the text is label enough. */
function sayWhatIsSeen() {
  for (const one of document.querySelectorAll("summary[aria-label]")) one.removeAttribute("aria-label");
  for (const one of document.querySelectorAll(".search-button-field")) {
    const seen = one.innerText.replace(/\s+/g, " ").trim();
    if (seen) one.setAttribute("aria-label", seen);
  }
  for (const one of document.querySelectorAll(".theme-switch-button")) { // its icons have titles
    const modes = [...one.querySelectorAll("[title], title")].map((icon) => icon.title || icon.textContent);
    if (modes.length) one.setAttribute("aria-label", `Color mode: ${modes.join(", ")}`);
  }
}

/** A list's children are its items. */
function nameItems() {
  for (const one of document.querySelectorAll(".citation-list[role=list] > *")) one.setAttribute("role", "listitem");
}

/** What scrolls sideways can be reached by the keyboard, and only that. */
function reachWhatScrolls() {
  for (const one of document.querySelectorAll(".bd-article :is(table, figure, .cell_output, pre, mjx-container)")) {
    if (one.scrollWidth > one.clientWidth + 1) one.tabIndex = 0;
    else if (one.getAttribute("tabindex") === "0") one.removeAttribute("tabindex");
  }
}

addEventListener("DOMContentLoaded", () => { sayWhatIsSeen(); nameItems(); reachWhatScrolls(); });
addEventListener("load", () => { sayWhatIsSeen(); reachWhatScrolls(); });
addEventListener("resize", reachWhatScrolls);
