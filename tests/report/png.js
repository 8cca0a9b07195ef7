// PNG files as this program writes them, 8-bit grey or RGB without interlacing: decoded and encoded with nothing but zlib.

"use strict";

const zlib = require("zlib");

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** `{ width, height, channels, pixels }` of the bytes of a PNG file. */
function decode(bytes) {
    if (!bytes.subarray(0, 8).equals(SIGNATURE)) {
        throw new Error("not a PNG file");
    }
    const data = [];
    let header;
    for (let at = 8; at < bytes.length; ) {
        const length = bytes.readUInt32BE(at);
        const kind = bytes.toString("latin1", at + 4, at + 8);
        const body = bytes.subarray(at + 8, at + 8 + length);
        if (kind === "IHDR") {
            header = body;
        } else if (kind === "IDAT") {
            data.push(body);
        }
        at += length + 12;
    }
    const channels = { 0: 1, 2: 3 }[header[9]];
    if (header[8] !== 8 || channels === undefined || header[12] !== 0) {
        throw new Error("neither 8-bit grey nor 8-bit RGB, or interlaced");
    }
    const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
    return { width, height, channels, pixels: unfilter(zlib.inflateSync(Buffer.concat(data)), width * channels, channels) };
}

/** Takes the filters off lines of `stride` bytes. */
function unfilter(raw, stride, channels) {
    const height = raw.length / (stride + 1);
    const pixels = Buffer.alloc(height * stride);
    for (let row = 0; row < height; row++) {
        const filter = raw[row * (stride + 1)];
        for (let i = 0; i < stride; i++) {
            const at = row * stride + i;
            const left = i >= channels ? pixels[at - channels] : 0;
            const above = row > 0 ? pixels[at - stride] : 0;
            const corner = row > 0 && i >= channels ? pixels[at - stride - channels] : 0;
            const guess = [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter];
            pixels[at] = raw[row * (stride + 1) + 1 + i] + guess;
        }
    }
    return pixels;
}

function paeth(left, above, corner) {
    const [toLeft, toAbove, toCorner] = [left, above, corner].map((value) => Math.abs(left + above - corner - value));
    return toLeft <= toAbove && toLeft <= toCorner ? left : toAbove <= toCorner ? above : corner;
}

/** The bytes of a PNG file. */
function encode({ width, height, channels, pixels }) {
    const stride = width * channels;
    const raw = Buffer.alloc(height * (stride + 1));
    for (let row = 0; row < height; row++) {
        raw[row * (stride + 1)] = 2; // the difference to the line above
        for (let i = 0; i < stride; i++) {
            const at = row * stride + i;
            raw[row * (stride + 1) + 1 + i] = pixels[at] - (row > 0 ? pixels[at - stride] : 0);
        }
    }
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, channels === 1 ? 0 : 2, 0, 0, 0], 8);
    const chunks = [chunk("IHDR", header), chunk("IDAT", zlib.deflateSync(raw, { level: 6 })), chunk("IEND", Buffer.alloc(0))];
    return Buffer.concat([SIGNATURE, ...chunks]);
}

function chunk(kind, body) {
    const bytes = Buffer.alloc(body.length + 12);
    bytes.writeUInt32BE(body.length, 0);
    bytes.write(kind, 4, "latin1");
    body.copy(bytes, 8);
    bytes.writeUInt32BE(zlib.crc32(bytes.subarray(4, 8 + body.length)), 8 + body.length);
    return bytes;
}

module.exports = { decode, encode };
