// An instruction, the caption refined from it, and the reader's own. Draws the state of
// `cirp.explorer.captions.CaptionEditor`; where a kernel runs, that caption can be run, too.

/** The words of two sentences in order: "same", "gone" (of the first alone), "new" (of the second). */
function differences(before, after) {
  const words = (text) => text.split(/\s+/).filter(Boolean);
  const a = words(before), b = words(after);
  const longest = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const found = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) { found.push(["same", a[i]]); i++; j++; }
    else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) found.push(["gone", a[i++]]);
    else found.push(["new", b[j++]]);
  }
  return found;
}

function render({ model, el }) {
  host(el);
  const items = model.get("items"), live = typeof model.send === "function";
  const said = element("output", { class: "cirp-said", "aria-live": "polite" });
  const frame = (caption) => {
    const image = element("img", { alt: caption, hidden: true }), text = element("figcaption", {}, caption);
    return { image, text, figure: element("figure", {}, image, text) };
  };
  const input = frame("input"), refined = frame("with the refined caption"), own = frame("with your caption");
  const instruction = element("output", {}), shows = element("output", {}), marked = element("p", { class: "cirp-diff" });
  const edit = choices(items.map((one) => one.instruction), (index) => { put(model, "item", index); show(); });
  const caption = element("textarea", { rows: 2, maxlength: 1000, input: () => mark() });
  const back = element("button", { type: "button", click: () => { caption.value = items[model.get("item")].refined; mark(); } }, "Refined caption");
  const go = element("button", { type: "button", class: "cirp-go", click: run }, "Run this caption");

  const scores = (found) => Object.entries(found ?? {}).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ");
  function mark() {
    const here = items[model.get("item")];
    marked.replaceChildren(...differences(here.shows, caption.value).flatMap(([kind, word]) => {
      const tag = { same: "span", gone: "del", new: "ins" }[kind];
      return [element(tag, {}, word), " "];
    }));
  }
  function show() {
    const here = items[model.get("item")];
    edit.selectedIndex = model.get("item");
    instruction.textContent = here.instruction;
    shows.textContent = here.shows;
    input.image.src = here.picture;
    input.image.hidden = false;
    refined.image.hidden = !here.made;
    if (here.made) refined.image.src = here.made;
    refined.text.textContent = `with the refined caption: ${scores(here.scores)}`;
    own.figure.hidden = true;
    caption.value = here.refined;
    mark();
  }
  function run() {
    go.disabled = true;
    said.textContent = "Running …";
    model.send({ kind: "run", item: model.get("item"), caption: caption.value });
  }
  const told = (message, buffers) => {
    go.disabled = false;
    said.classList.toggle("wrong", message.kind === "error");
    if (message.kind === "error") { said.textContent = message.text; return; }
    if (message.item !== model.get("item")) { said.textContent = ""; return; }
    own.image.src = `data:image/png;base64,${message.picture}`;
    own.image.hidden = own.figure.hidden = false;
    own.text.textContent = `with your caption: ${scores(message.scores)}`;
    said.textContent = `Done: ${message.caption}`;
  };
  if (live) model.on("msg:custom", told);

  el.append(
    element("div", { class: "cirp-frames" }, input.figure, refined.figure, own.figure),
    element("div", { class: "cirp-panel" },
      row("Instruction", edit), row("The picture shows", shows), row("Target caption", caption),
      marked,
      element("div", { class: "cirp-row" }, back, live && go),
      said,
    ),
  );
  show();
  return () => { if (live) model.off("msg:custom", told); };
}

export default { render };
