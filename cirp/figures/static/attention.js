// Where a word looks, by layer and time. Draws the state of `cirp.figures.explorers.AttentionExplorer`.

/** The colour of 0..1 in matplotlib's table, as [red, green, blue]. */
function heatColour(colours, share) {
  const at = 3 * Math.round(255 * Math.min(Math.max(share, 0), 1));
  return colours.subarray(at, at + 3);
}

/** One map as bytes, out of a layer's (time, word, row, column). */
function mapAt(maps, layer, words, time, word) {
  const cells = layer.rows * layer.columns;
  const start = layer.offset + (time * words + word) * cells;
  return maps.subarray(start, start + cells);
}

/** The share of the map's sum inside the mask (1 = inside), the map stretched to its size. */
function energyInside(map, layer, mask, [width, height]) {
  let inside = 0, all = 0;
  for (let y = 0; y < height; y++) {
    const line = Math.floor((y * layer.rows) / height) * layer.columns;
    for (let x = 0; x < width; x++) {
      const value = map[line + Math.floor((x * layer.columns) / width)];
      all += value;
      if (mask[y * width + x]) inside += value;
    }
  }
  return all ? inside / all : NaN;
}

/** The border of the mask along pixel edges, as the path of an SVG in pixels. */
function borderOf(mask, [width, height]) {
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] > 0;
  let path = "";
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (at(x, y) !== at(x, y - 1)) path += `M${x} ${y}h1`;
      if (at(x, y) !== at(x - 1, y)) path += `M${x} ${y}v1`;
    }
  }
  return path;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  host(el);
  const words = model.get("words"), times = model.get("times"), layers = model.get("layers");
  const peaks = model.get("peaks"), size = model.get("size"), colours = bytesOf(model.get("colours"));
  const maps = bytesOf(model.get("maps")), mask = bytesOf(model.get("mask"));
  const area = mask.reduce((sum, inside) => sum + inside, 0) / (size[0] * size[1]);
  let cell = null; // the cell under the pointer or the keyboard's cursor: [column, row]
  let playing = null;

  const image = element("img", { src: model.get("picture"), alt: "" });
  const canvas = element("canvas", { tabindex: 0, role: "img" });
  const border = svg("svg", { viewBox: `0 0 ${size[0]} ${size[1]}`, "aria-hidden": "true" });
  if (mask.length) {
    const path = borderOf(mask, size);
    for (const kind of ["under", "over"]) border.append(svg("path", { d: path, class: kind }));
  }
  const stage = element("div", { class: "cirp-stage" }, image, canvas, border);
  stage.style.aspectRatio = `${size[0]} / ${size[1]}`;

  const word = choices(words, (i) => put(model, "word", i));
  const layer = choices(layers.map((l) => l.name), (i) => put(model, "layer", i));
  const time = slider(times.length - 1, (i) => put(model, "time", i));
  const timeText = element("output");
  const opacity = slider(20, (i) => put(model, "opacity", i / 20));
  const opacityText = element("output");
  const outlined = element("input", { type: "checkbox" });
  outlined.addEventListener("change", () => put(model, "outline", outlined.checked));
  const play = element("button", { type: "button", click: () => (playing ? stop() : start()) });
  const scale = element("canvas", { class: "cirp-scale", width: 128, height: 1, "aria-hidden": true });
  const scaleText = element("span", { class: "cirp-limits" });
  const said = element("output", { class: "cirp-said", "aria-live": "polite" });
  const probed = element("output", { class: "cirp-probed" });

  el.append(
    stage,
    element("div", { class: "cirp-panel" },
      row("Word", word),
      row("Layers", layer),
      row("Time step", time, timeText),
      row("Map", opacity, opacityText),
      ...(mask.length ? [row("Outline of the region to change", outlined)] : []),
      play,
      element("div", { class: "cirp-legend" }, scale, scaleText),
      said, probed,
    ),
  );
  paintScale(scale, colours);
  stop();

  function start() {
    if (model.get("time") >= times.length - 1) put(model, "time", 0);
    playing = setInterval(() => {
      if (model.get("time") >= times.length - 1) stop();
      else put(model, "time", model.get("time") + 1);
    }, 250);
    play.textContent = "Pause";
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = "Play the denoising";
  }

  function draw() {
    const [w, l, t] = ["word", "layer", "time"].map((name) => model.get(name));
    const shape = layers[l], peak = peaks[l][w];
    const map = mapAt(maps, shape, words.length, t, w);
    [word.selectedIndex, layer.selectedIndex, time.value] = [w, l, t];
    time.setAttribute("aria-valuetext", times[t]);
    timeText.textContent = times[t];
    opacity.value = Math.round(20 * model.get("opacity"));
    opacityText.textContent = percent(model.get("opacity"));
    outlined.checked = model.get("outline");
    border.style.display = model.get("outline") ? "" : "none";

    [canvas.width, canvas.height] = [shape.columns, shape.rows];
    const pixels = new ImageData(shape.columns, shape.rows);
    map.forEach((value, i) => pixels.data.set([...heatColour(colours, value / 255), 255], 4 * i));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.style.opacity = model.get("opacity");

    scaleText.replaceChildren(
      element("span", {}, "0"), element("span", {}, peak.toPrecision(2)));
    let text = `“${words[w]}” at time step ${times[t]}: `
      + `highest ${((peak * Math.max(...map)) / 255).toPrecision(2)}`;
    if (mask.length) {
      text += `; ${percent(energyInside(map, shape, mask, size))} of it inside the region, `
        + `which is ${percent(area)} of the picture`;
    }
    said.textContent = text + ".";
    canvas.setAttribute("aria-label", `${text}. Arrow keys read single cells.`);
    probe();
  }

  function probe() {
    const [l, w] = [model.get("layer"), model.get("word")], shape = layers[l];
    if (!cell) { probed.textContent = ""; return; }
    cell = [Math.min(cell[0], shape.columns - 1), Math.min(cell[1], shape.rows - 1)];
    const map = mapAt(maps, shape, words.length, model.get("time"), w);
    const value = (peaks[l][w] * map[cell[1] * shape.columns + cell[0]]) / 255;
    probed.textContent = `column ${cell[0] + 1}, row ${cell[1] + 1}: ${value.toPrecision(2)}`;
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), shape = layers[model.get("layer")];
    const along = (at, start, length, cells) =>
      Math.min(Math.max(Math.floor(((at - start) / length) * cells), 0), cells - 1);
    cell = [along(event.clientX, box.left, box.width, shape.columns),
      along(event.clientY, box.top, box.height, shape.rows)];
    probe();
  });
  canvas.addEventListener("pointerleave", () => { cell = null; probe(); });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!(event.key in move)) return;
    event.preventDefault();
    const [x, y] = cell ?? [0, 0], [dx, dy] = cell ? move[event.key] : [0, 0];
    cell = [Math.max(x + dx, 0), Math.max(y + dy, 0)];
    probe();
  });

  const undo = follow(model, ["word", "layer", "time", "opacity", "outline"], draw);
  return () => { stop(); undo(); };
}

function paintScale(canvas, colours) {
  const pixels = new ImageData(canvas.width, 1);
  for (let i = 0; i < canvas.width; i++) {
    pixels.data.set([...heatColour(colours, i / (canvas.width - 1)), 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

export default { render };
