// Drawing on the explorer's canvas: heat maps, outlines, scores. Nothing here knows what is chosen.

/** Bytes of a PNG as a bitmap. */
const bitmap = (view) => createImageBitmap(new Blob([view], { type: "image/png" }));

/** A map as a small canvas; `peak`, by default its largest value, is the last of 256 colours (bytes, three each). */
function heat(map, colours, peak = Math.max(...map.values, 1e-12)) {
  const made = new OffscreenCanvas(map.columns, map.rows), own = made.getContext("2d");
  const image = own.createImageData(map.columns, map.rows);
  map.values.forEach((value, i) => {
    const at = 3 * Math.round((255 * Math.min(value, peak)) / peak);
    image.data.set([colours[at], colours[at + 1], colours[at + 2], 255], 4 * i);
  });
  own.putImageData(image, 0, 0);
  return made;
}

/** The outline of the pixels that `is(x, y)` says are inside of a picture of this size. */
function border(context, [width, height], is, colour) {
  const sx = context.canvas.width / width, sy = context.canvas.height / height;
  context.beginPath();
  for (let y = 0; y <= height; y++) for (let x = 0; x <= width; x++) {
    const here = x < width && y < height && is(x, y);
    if (here !== (y > 0 && x < width && is(x, y - 1))) { context.moveTo(x * sx, y * sy); context.lineTo((x + 1) * sx, y * sy); }
    if (here !== (x > 0 && y < height && is(x - 1, y))) { context.moveTo(x * sx, y * sy); context.lineTo(x * sx, (y + 1) * sy); }
  }
  context.lineWidth = 3; context.strokeStyle = "#000"; context.stroke();
  context.lineWidth = 1.5; context.strokeStyle = colour; context.stroke();
}

/** The whole picture over the whole canvas, pixels sharp. */
function paintedOn(target, image) {
  target.imageSmoothingEnabled = false;
  target.drawImage(image, 0, 0, target.canvas.width, target.canvas.height);
}

/** A white frame around a place, in canvas pixels. */
function frame(context, x, y, side) {
  context.strokeStyle = "#000"; context.lineWidth = 4; context.strokeRect(x, y, side, side);
  context.strokeStyle = "#fff"; context.lineWidth = 2; context.strokeRect(x, y, side, side);
}

/** Mean absolute change of each pixel between two pictures, as a map. */
function changeBetween(one, other, [width, height]) {
  const pixels = [one, other].map((image) => {
    const own = new OffscreenCanvas(width, height).getContext("2d");
    own.drawImage(image, 0, 0, width, height);
    return own.getImageData(0, 0, width, height).data;
  });
  const values = new Float32Array(width * height);
  for (let i = 0; i < values.length; i++)
    for (let c = 0; c < 3; c++) values[i] += Math.abs(pixels[0][4 * i + c] - pixels[1][4 * i + c]) / 765;
  return { rows: height, columns: width, values };
}

/** Scores of runs, a row each: [[label, {name: number or null}], ...]. */
function scoreTable(table, runs) {
  const names = runs.length ? Object.keys(runs[0][1]) : [];
  const heads = names.map((name) => element("th", { scope: "col" }, name));
  table.replaceChildren(
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, ""), ...heads)),
    element("tbody", {}, ...runs.map(([label, scores]) => element("tr", {}, element("th", { scope: "row" }, label),
      ...names.map((name) => element("td", {}, scores[name] == null ? "–" : scores[name].toFixed(3)))))),
  );
  table.hidden = !runs.length;
}

/** Hands the reader a file. */
function save(name, data, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([data], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
