// ML-KEM-768 (FIPS 203): key generation and decapsulation, for a Node.js whose OpenSSL has no ML-KEM.
// For tests: it is not constant in time.

import { createHash } from "node:crypto";

const Q = 3329;
const K = 3;
const POLY = 384;
const VECTOR = K * POLY;
const DU = 10;
const DV = 4;
export const CIPHERTEXT = 32 * (K * DU + DV);
export const PUBLIC = VECTOR + 32;

const hash = (name, data, outputLength) => createHash(name, { outputLength }).update(data).digest();
const modulo = (value) => ((value % Q) + Q) % Q;
const range = (size) => Array.from({ length: size }, (_, at) => at);

function power(exponent) {
  let value = 1;
  for (let step = 0; step < exponent; step += 1) value = (value * 17) % Q;
  return value;
}

const reversed7 = (index) => parseInt(index.toString(2).padStart(7, "0").split("").reverse().join(""), 2);
const ZETAS = range(128).map((index) => power(reversed7(index)));
const GAMMAS = range(128).map((index) => power(2 * reversed7(index) + 1));

// ---------------------------------------------------------------- polynomials: section 4.3

/** Algorithm 9, in place. */
function ntt(f) {
  for (let length = 128, at = 1; length >= 2; length /= 2) {
    for (let start = 0; start < 256; start += 2 * length, at += 1) {
      for (let j = start; j < start + length; j += 1) {
        const t = ZETAS[at] * f[j + length];
        f[j + length] = modulo(f[j] - t);
        f[j] = modulo(f[j] + t);
      }
    }
  }
  return f;
}

/** Algorithm 10, in place. */
function inverseNtt(f) {
  for (let length = 2, at = 127; length <= 128; length *= 2) {
    for (let start = 0; start < 256; start += 2 * length, at -= 1) {
      for (let j = start; j < start + length; j += 1) {
        const difference = f[j + length] - f[j];
        f[j] = modulo(f[j] + f[j + length]);
        f[j + length] = modulo(ZETAS[at] * difference);
      }
    }
  }
  return f.map((value) => (value * 3303) % Q);
}

const add = (left, right) => left.map((value, at) => (value + right[at]) % Q);

/** The product of two vectors in the NTT domain: Algorithm 11, summed. */
function dot(left, right) {
  const sum = Array(256).fill(0);
  left.forEach((a, row) => {
    const b = right[row];
    GAMMAS.forEach((gamma, at) => {
      const even = 2 * at;
      const odd = even + 1;
      sum[even] = (sum[even] + a[even] * b[even] + ((a[odd] * b[odd]) % Q) * gamma) % Q;
      sum[odd] = (sum[odd] + a[even] * b[odd] + a[odd] * b[even]) % Q;
    });
  });
  return sum;
}

// ---------------------------------------------------------------- bytes and sampling: section 4.2

/** Algorithm 5: each coefficient in `bits` bits, least significant bit first. */
function encode(bits, poly) {
  const bytes = Buffer.alloc(32 * bits);
  poly.forEach((value, index) => {
    for (let bit = 0; bit < bits; bit += 1) {
      const at = index * bits + bit;
      bytes[at >> 3] |= ((value >> bit) & 1) << (at & 7);
    }
  });
  return bytes;
}

/** Algorithm 6. */
function decode(bits, bytes) {
  return range(256).map((index) =>
    range(bits).reduce((value, bit) => {
      const at = index * bits + bit;
      return value | (((bytes[at >> 3] >> (at & 7)) & 1) << bit);
    }, 0));
}

const encodeAll = (bits, vector) => Buffer.concat(vector.map((poly) => encode(bits, poly)));

function decodeAll(bits, bytes) {
  return range(bytes.length / (32 * bits)).map((at) => decode(bits, bytes.subarray(at * 32 * bits)));
}

const compress = (bits, value) => Math.floor(((modulo(value) << bits) + (Q >> 1)) / Q) % (1 << bits);
const decompress = (bits, value) => (value * Q + (1 << (bits - 1))) >> bits;

/** Algorithm 7, in the NTT domain. 280 rounds are enough but once in 2**261 times: appendix B. */
function uniform(seed) {
  const stream = hash("shake128", seed, 840);
  const found = range(280).flatMap((at) => {
    const pair = stream.readUIntLE(3 * at, 3);
    return [pair & 0xfff, pair >> 12].filter((value) => value < Q);
  });
  return found.slice(0, 256);
}

/** Algorithm 8 with eta = 2. */
function noise(seed, number) {
  const bytes = hash("shake256", Buffer.concat([seed, Buffer.of(number)]), 128);
  return decode(4, bytes).map((x) => modulo((x & 1) + ((x >> 1) & 1) - ((x >> 2) & 1) - (x >> 3)));
}

const noises = (seed, first) => range(K).map((at) => noise(seed, first + at));

function matrix(rho) {
  return range(K).map((i) => range(K).map((j) => uniform(Buffer.concat([rho, Buffer.of(j, i)]))));
}

// ---------------------------------------------------------------- the KEM: sections 5 and 6

/** G of section 4.1: two values of 32 bytes. */
function expand(...parts) {
  const digest = hash("sha3-512", Buffer.concat(parts));
  return [digest.subarray(0, 32), digest.subarray(32)];
}

/** Algorithm 16: the key pair of a seed d || z. `publicKey` is the encapsulation key in bytes. */
export function generate(seed) {
  const [rho, sigma] = expand(seed.subarray(0, 32), Buffer.of(K));
  const secret = noises(sigma, 0).map(ntt);
  const error = noises(sigma, K).map(ntt);
  const t = matrix(rho).map((row, at) => add(dot(row, secret), error[at]));
  return { secret, publicKey: Buffer.concat([encodeAll(12, t), rho]), rejection: seed.subarray(32) };
}

/** Algorithm 14. */
function encrypt(publicKey, message, randomness) {
  const t = decodeAll(12, publicKey.subarray(0, VECTOR));
  const a = matrix(publicKey.subarray(VECTOR));
  const y = noises(randomness, 0).map(ntt);
  const error = noises(randomness, K);
  const u = range(K).map((column) => add(inverseNtt(dot(a.map((row) => row[column]), y)), error[column]));
  const bits = decode(1, message).map((bit) => decompress(1, bit));
  const v = add(add(inverseNtt(dot(t, y)), noise(randomness, 2 * K)), bits);
  const pack = (size, poly) => encode(size, poly.map((value) => compress(size, value)));
  return Buffer.concat([...u.map((poly) => pack(DU, poly)), pack(DV, v)]);
}

/** Algorithm 15. */
function decrypt(secret, ciphertext) {
  const split = 32 * K * DU;
  const unpack = (size, poly) => poly.map((value) => decompress(size, value));
  const u = decodeAll(DU, ciphertext.subarray(0, split)).map((poly) => ntt(unpack(DU, poly)));
  const v = unpack(DV, decode(DV, ciphertext.subarray(split)));
  const product = inverseNtt(dot(secret, u));
  return encode(1, v.map((value, at) => compress(1, value - product[at])));
}

/** Algorithm 18: the shared key; for a ciphertext that was not made for this key, one that nobody knows. */
export function decapsulate({ secret, publicKey, rejection }, ciphertext) {
  const message = decrypt(secret, ciphertext);
  const [shared, randomness] = expand(message, hash("sha3-256", publicKey));
  if (encrypt(publicKey, message, randomness).equals(ciphertext)) return shared;
  return hash("shake256", Buffer.concat([rejection, ciphertext]), 32);
}
