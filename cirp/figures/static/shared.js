// What both explorers use. Python puts this file before theirs: a module made from text cannot
// import another.

/** Bytes from Python: a DataView while a kernel runs, base64 text in a page without one. */
function bytesOf(value) {
  if (typeof value === "string") return Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** An element with attributes, listeners (functions) and children; a child that is false is none. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== false));
  return made;
}

/** A labelled row: the label's text, the control, and optionally where its value is written. */
function row(text, control, ...rest) {
  return element("label", { class: "cirp-row" }, element("span", {}, text), control, ...rest);
}

/** A list of choices; `choose` is called with the index. */
function choices(names, choose) {
  const made = element("select", { change: () => choose(made.selectedIndex) });
  names.forEach((name) => made.add(new Option(name)));
  return made;
}

/** A slider over 0..last in steps of one. */
function slider(last, choose) {
  const made = element("input", { type: "range", min: 0, max: last, step: 1 });
  made.addEventListener("input", () => choose(Number(made.value)));
  return made;
}

/** Keeps JupyterLab from taking the arrow keys, and marks the element for the style sheet. */
function host(el) {
  el.classList.add("cirp-explorer");
  el.dataset.lmSuppressShortcuts = "true";
  const stop = (event) => event.stopPropagation();
  el.addEventListener("keydown", stop);
}

/** Sets one value, tells Python if it is there; listeners of the model redraw. */
function put(model, name, value) {
  model.set(name, value);
  model.save_changes();
}

/** Calls `draw` now and at each change of the names; returns what undoes that. */
function follow(model, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw);
  draw();
  return () => names.forEach((name) => model.off(`change:${name}`, draw));
}

/** An image that is ready to be drawn. */
async function picture(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;
