// SM4-GCM (NIST SP 800-38D over GB/T 32907) for a Node.js whose OpenSSL has SM4 in ECB and CTR mode only.
// For tests: it is not constant in time.

import { createCipheriv, createDecipheriv, timingSafeEqual } from "node:crypto";

/** Shift a field element, four 32-bit words, right by one bit and reduce. */
function halve([a, b, c, d]) {
  const carry = d & 1 ? 0xe1000000 : 0;
  return [(a >>> 1) ^ carry, (b >>> 1) | (a << 31), (c >>> 1) | (b << 31), (d >>> 1) | (c << 31)];
}

/** The products of a field element with each 4-bit polynomial, flattened. */
function nibbleTable(element) {
  const table = new Int32Array(64);
  let power = element;
  for (let bit = 8; bit; bit >>= 1, power = halve(power)) {
    for (let nibble = 1; nibble < 16; nibble += 1) {
      if (nibble & bit) power.forEach((word, at) => (table[nibble * 4 + at] ^= word));
    }
  }
  return table;
}

/** What the four bits shifted out by a step of four add to the highest word. */
const REMAINDERS = Int32Array.from({ length: 16 }, (_, bits) => {
  let element = [0, 0, 0, bits];
  for (let step = 0; step < 4; step += 1) element = halve(element);
  return element[0];
});

/** GHASH of `data`, zero-padded, and of the lengths (no associated data). */
function ghash(h, data) {
  const words = [0, 4, 8, 12].map((at) => h.readInt32BE(at));
  const table = nibbleTable(words);
  const padded = Buffer.alloc(Math.ceil(data.length / 16) * 16 + 16);
  data.copy(padded);
  padded.writeBigUInt64BE(BigInt(data.length) * 8n, padded.length - 8);
  const sum = Buffer.alloc(16);
  for (let block = 0; block < padded.length; block += 16) {
    for (let at = 0; at < 16; at += 1) sum[at] ^= padded[block + at];
    let a = 0, b = 0, c = 0, d = 0;
    for (let step = 31; step >= 0; step -= 1) {
      const nibble = (step & 1 ? sum[step >> 1] & 15 : sum[step >> 1] >> 4) * 4;
      const out = d & 15;
      d = ((d >>> 4) | (c << 28)) ^ table[nibble + 3];
      c = ((c >>> 4) | (b << 28)) ^ table[nibble + 2];
      b = ((b >>> 4) | (a << 28)) ^ table[nibble + 1];
      a = (a >>> 4) ^ REMAINDERS[out] ^ table[nibble];
    }
    [a, b, c, d].forEach((word, at) => sum.writeInt32BE(word, at * 4));
  }
  return sum;
}

/** The plaintext, or null if the tag is wrong. `nonce` is 12 bytes; there is no associated data. */
export function openSm4Gcm(key, nonce, text, tag) {
  const block = (input) => createCipheriv("sm4-ecb", key, null).setAutoPadding(false).update(input);
  const counter = (value) => Buffer.concat([nonce, Buffer.of(0, 0, 0, value)]);
  const mask = block(counter(1));
  const expected = ghash(block(Buffer.alloc(16)), text).map((byte, at) => byte ^ mask[at]);
  if (!timingSafeEqual(expected, tag)) return null;
  return createDecipheriv("sm4-ctr", key, counter(2)).update(text);
}
