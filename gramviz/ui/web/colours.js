// From values to pixels, through a table of 256 colours.

/** A table of 256 colours from 1536 hexadecimal digits, as the 32-bit words of an ImageData (opaque). */
function colourTable(hex) {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const channel = (k) => parseInt(hex.substr(6 * i + 2 * k, 2), 16);
    table[i] = (0xff000000 | (channel(2) << 16) | (channel(1) << 8) | channel(0)) >>> 0;
  }
  return table;
}

/** Colour each value by its place between low and high; what lies outside takes the colour of the end. */
function paintValues(values, low, high, table, pixels) {
  const scale = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const step = Math.round((values[i] - low) * scale);
    pixels[i] = table[step < 0 ? 0 : step > 255 ? 255 : step];
  }
}

/** Colour each patch by its three bytes red, green, blue. */
function paintBytes(bytes, pixels) {
  for (let i = 0; i < pixels.length; i++) {
    pixels[i] = (0xff000000 | (bytes[3 * i + 2] << 16) | (bytes[3 * i + 1] << 8) | bytes[3 * i]) >>> 0;
  }
}

/** Draw a table as a bar, low on the left. */
function paintBar(canvas, table) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(table);
  context.putImageData(image, 0, 0);
}
