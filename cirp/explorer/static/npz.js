// Arrays as NumPy reads them: .npy files in a .zip that is not compressed.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const crc = (bytes) => ~bytes.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), -1) >>> 0;

/** A float32 array of a shape as the bytes of an .npy file (format 1.0). */
function npy(values, shape) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const length = Math.ceil((header.length + 11) / 64) * 64 - 10;
  const start = new TextEncoder().encode(`\x00NUMPY\x01\x00\x00\x00${header.padEnd(length - 1)}\n`);
  start[0] = 0x93; start[8] = length & 255; start[9] = length >> 8;
  const made = new Uint8Array(start.length + values.byteLength);
  made.set(start);
  made.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), start.length);
  return made;
}

/** Files (name -> bytes) as one archive. */
function zip(files) {
  const parts = [], central = [];
  let offset = 0;
  const numbers = (...pairs) => {
    const bytes = new Uint8Array(pairs.reduce((sum, [, size]) => sum + size, 0)), view = new DataView(bytes.buffer);
    let at = 0;
    for (const [value, size] of pairs) {
      if (size === 2) view.setUint16(at, value, true); else view.setUint32(at, value, true);
      at += size;
    }
    return bytes;
  };
  for (const [name, data] of Object.entries(files)) {
    const called = new TextEncoder().encode(name);
    const about = [[20, 2], [0, 2], [0, 2], [0, 2], [0x21, 2], [crc(data), 4], [data.length, 4], [data.length, 4], [called.length, 2], [0, 2]];
    const local = numbers([0x04034b50, 4], ...about);
    central.push(numbers([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), called);
    parts.push(local, called, data);
    offset += local.length + called.length + data.length;
  }
  const size = central.reduce((sum, part) => sum + part.length, 0), count = central.length / 2;
  return new Blob([...parts, ...central, numbers([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2])]);
}

/** A run's maps: of each layer an array (step, branch, head, token, row, column), and the tokens as text. */
function mapsOf(run) {
  const files = { "tokens.txt": new TextEncoder().encode(run.tokens.join("\n")) };
  run.layers.forEach(({ name, rows, columns, heads, branches }, layer) => {
    const each = branches * heads * run.tokens.length * rows * columns, steps = run.steps.filter(Boolean);
    const values = new Float32Array(each * steps.length);
    steps.forEach((one, i) => values.set(one.data.subarray(one.offsets[layer], one.offsets[layer] + each), i * each));
    files[`${String(layer + 1).padStart(2, "0")} ${name}.npy`] = npy(values, [steps.length, branches, heads, run.tokens.length, rows, columns]);
  });
  return zip(files);
}
