// A second decoder for the envelope format, written from docs/format.md for Node.js >= 18 and nothing else.
//
//   node decode.mjs vectors FILE...          decode every vector of tests/vectors files, compare, summarise
//   node decode.mjs open FILE DEK [AAD]      write the message in FILE to stdout; DEK and AAD in hexadecimal
//
// Exit status: 0 all as expected, 1 not; an outcome other than success is named on stderr.

import { createDecipheriv, createHash, createHmac, getCiphers, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { unwrapWith } from "./recipients.mjs";
import { openSm4Gcm } from "./sm4gcm.mjs";

const CHUNK = 16384;
const TAG = 16;
const SEALED = CHUNK + TAG;
const BODY_PREFIX = 56;
const MAX_JSON = 65536;
const MAX_DEPTH = 32;

const SUITES = new Map([
  [1, { name: "AES-256-GCM", aead: "AEAD_AES_256_GCM", hash: "sha512", hashSize: 64, keySize: 32 }],
  [2, { name: "AES-128-GCM", aead: "AEAD_AES_128_GCM", hash: "sha512", hashSize: 64, keySize: 16 }],
  [3, { name: "SM4-GCM", aead: "AEAD_SM4_GCM", hash: "sm3", hashSize: 32, keySize: 16 }],
]);

/** One of the numbered refusals of docs/format.md, and the outcome that it has. */
export class Refused extends Error {
  constructor(refusal) {
    super(`refused: ${refusal}`);
    this.refusal = refusal;
    this.outcome =
      refusal === "no-key" ? refusal
      : refusal[0] === "H" ? "format"
      : refusal[0] === "C" ? "context"
      : ["B4", "B5", "B6"].includes(refusal) ? "truncated"
      : "authentication";
  }
}

function need(condition, refusal) {
  if (!condition) throw new Refused(refusal);
}

// ---------------------------------------------------------------- JSON, as RFC 8259 has it

/** JSON.parse takes the last of two members of one name, so the text is scanned here. Objects become Maps. */
class Scanner {
  constructor(text, { grammar, duplicate, depth }) {
    Object.assign(this, { text, grammar, duplicate, tooDeep: depth, at: 0 });
  }

  parse() {
    this.skipSpace();
    const value = this.value(1);
    need(this.at === this.text.length, this.grammar);
    return value;
  }

  skipSpace() {
    this.match(/[ \t\n\r]*/y);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found && found[0];
  }

  take(character) {
    const found = this.text[this.at] === character;
    if (found) this.at += 1;
    return found;
  }

  value(depth) {
    const value = this.bare(depth);
    this.skipSpace();
    return value;
  }

  bare(depth) {
    const next = this.text[this.at];
    if (next === "{" || next === "[") {
      need(depth <= MAX_DEPTH, this.tooDeep);
      return next === "{" ? this.object(depth) : this.array(depth);
    }
    if (next === '"') return this.string();
    const word = this.match(/true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y);
    need(word !== null, this.grammar);
    return JSON.parse(word);
  }

  string() {
    const raw = this.match(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y);
    need(raw !== null, this.grammar);
    return JSON.parse(raw);
  }

  array(depth) {
    const items = [];
    this.take("[");
    this.skipSpace();
    if (this.take("]")) return items;
    do {
      this.skipSpace();
      items.push(this.value(depth + 1));
    } while (this.take(","));
    need(this.take("]"), this.grammar);
    return items;
  }

  object(depth) {
    const members = new Map();
    this.take("{");
    this.skipSpace();
    if (this.take("}")) return members;
    do {
      this.skipSpace();
      const name = this.string();
      this.skipSpace();
      need(this.take(":"), this.grammar);
      this.skipSpace();
      need(!members.has(name), this.duplicate);
      members.set(name, this.value(depth + 1));
    } while (this.take(","));
    need(this.take("}"), this.grammar);
    return members;
  }
}

// ---------------------------------------------------------------- header

/** The header at the start of `data`: suite, recipients, context text and pairs, size. */
export function parseHeader(data) {
  need(data.subarray(0, 6).toString("latin1") === "KMSENV", "H1");
  need(data.length >= 12, "H2");
  need(data[6] === 1, "H3");
  const suite = SUITES.get(data[7]);
  need(suite, "H4");
  const size = data.readUInt32BE(8);
  need(size <= MAX_JSON, "H5");
  need(data.length >= 12 + size, "H6");
  const text = decodeText(data.subarray(12, 12 + size));
  const members = new Scanner(text, { grammar: "H9", duplicate: "H10", depth: "H11" }).parse();
  need(members instanceof Map, "H12");
  const keys = members.get("keys");
  need(Array.isArray(keys), "H13");
  need(keys.length >= 1 && keys.length <= 16, "H14");
  const context = members.has("context") ? members.get("context") : null;
  return { suite, recipients: keys.map(parseRecipient), context, pairs: parseContext(members, context), size: 12 + size };
}

function decodeText(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refused("H7");
  }
  need(!text.startsWith("\ufeff"), "H8");
  return text;
}

function parseRecipient(members) {
  need(members instanceof Map, "H15");
  const recipient = {};
  for (const name of ["kms", "key_id", "wrapped"]) {
    need(typeof members.get(name) === "string", "H16");
    recipient[name] = members.get(name);
  }
  for (const name of ["region", "alg"]) {
    if (!members.has(name)) continue;
    need(typeof members.get(name) === "string", "H17");
    recipient[name] = members.get(name);
  }
  for (const value of Object.values(recipient)) need(/^[ -~]+$/.test(value) && !value.endsWith("\n"), "H18");
  return recipient;
}

function parseContext(members, context) {
  if (!members.has("context")) return new Map();
  need(typeof context === "string", "H19");
  need([...context].length <= 1024, "H20");
  need(!halfPair(context), "H23");
  const pairs = new Scanner(context, { grammar: "H21", duplicate: "H21", depth: "H21" }).parse();
  need(pairs instanceof Map, "H21");
  for (const [name, value] of pairs) {
    need(typeof value === "string", "H22");
    need(!halfPair(name) && !halfPair(value), "H23");
  }
  return pairs;
}

const halfPair = (text) => /\p{Surrogate}/u.test(text);

// ---------------------------------------------------------------- derivation

/** HKDF-Expand, RFC 5869 section 2.3. */
function expand(suite, prk, info, size) {
  let output = Buffer.alloc(0);
  let block = Buffer.alloc(0);
  for (let counter = 1; output.length < size; counter += 1) {
    block = createHmac(suite.hash, prk).update(block).update(info).update(Buffer.of(counter)).digest();
    output = Buffer.concat([output, block]);
  }
  return output.subarray(0, size);
}

export function contextBytes(context, aad) {
  const text = Buffer.from(context ?? "", "utf-8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([Buffer.from("kmsenvelope/1\0"), length, text, aad]);
}

export function derive(suite, dek, salt, context) {
  need(dek.length === suite.keySize, "B1");
  const label = Buffer.from(`c2sp.org/chunked-encryption@v1+${suite.aead}\0`);
  const output = expand(suite, dek, Buffer.concat([label, salt, context]), suite.keySize + 44);
  return {
    key: output.subarray(0, suite.keySize),
    baseNonce: output.subarray(suite.keySize, suite.keySize + 12),
    commitment: output.subarray(suite.keySize + 12),
  };
}

function nonceOf(baseNonce, index) {
  const counter = (BigInt(`0x${baseNonce.toString("hex")}`) ^ BigInt(index)).toString(16).padStart(24, "0");
  return Buffer.from(counter, "hex");
}

// ---------------------------------------------------------------- body

function openChunk(suite, { key, baseNonce }, index, sealed) {
  const nonce = nonceOf(baseNonce, index);
  const text = sealed.subarray(0, sealed.length - TAG);
  const tag = sealed.subarray(sealed.length - TAG);
  if (suite.name === "SM4-GCM" && !getCiphers().includes("sm4-gcm")) {
    const plaintext = openSm4Gcm(key, nonce, text, tag);
    need(plaintext, "B3");
    return plaintext;
  }
  const cipher = createDecipheriv(suite.name.toLowerCase(), key, nonce, { authTagLength: TAG });
  cipher.setAuthTag(tag);
  try {
    return Buffer.concat([cipher.update(text), cipher.final()]);
  } catch {
    throw new Refused("B3");
  }
}

/**
 * Decode an envelope. `unwrap(header)` returns the DEK, or null if no recipient can be opened. `release` is called with each authenticated chunk; the message is whole only when this
 * returns. Throws Refused.
 */
export function decode(data, { unwrap, aad = Buffer.alloc(0), expectedContext = null }, release) {
  const header = parseHeader(data);
  const { suite, context, pairs, size } = header;
  if (expectedContext !== null) {
    const expected = Object.entries(expectedContext);
    need(expected.length === pairs.size && expected.every(([name, value]) => pairs.get(name) === value), "C1");
  }
  const dek = unwrap(header);
  need(dek !== null, "no-key");
  const body = data.subarray(size);
  need(body.length >= BODY_PREFIX, "B4");
  const keys = derive(suite, dek, body.subarray(0, 24), contextBytes(context, aad));
  need(timingSafeEqual(keys.commitment, body.subarray(24, BODY_PREFIX)), "B2");
  need(body.length >= BODY_PREFIX + TAG, "B4");
  for (let index = 0, start = BODY_PREFIX; ; index += 1, start += SEALED) {
    need(index < 2 ** 38, "B7");
    const sealed = body.subarray(start, start + SEALED);
    need(sealed.length > 0, "B5");
    need(sealed.length >= TAG, "B6");
    release(openChunk(suite, keys, index, sealed));
    if (sealed.length < SEALED) return;
  }
}

// ---------------------------------------------------------------- vectors

function repeated({ repeat, length }) {
  return Buffer.alloc(length, Buffer.from(repeat, "hex"));
}

function bytesOf(envelope, known) {
  if ("base64" in envelope) return Buffer.from(envelope.base64, "base64");
  const parts = envelope.parts.map((part) => {
    if (typeof part === "string") return Buffer.from(part, "hex");
    return Array.isArray(part) ? known.get(envelope.from).subarray(part[0], part[1]) : repeated(part);
  });
  return Buffer.concat(parts);
}

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

/** Whether `plaintext` is what the vector states, or on failure no more than it allows. */
function agrees(vector, plaintext) {
  const stated = vector.plaintext;
  if (vector.expect !== "success") {
    if (plaintext.length > (vector.released ?? 0)) return false;
    return plaintext.length === 0 || repeated(stated).subarray(0, plaintext.length).equals(plaintext);
  }
  if ("sha256" in stated) return stated.length === plaintext.length && stated.sha256 === sha256(plaintext);
  return plaintext.equals("hex" in stated ? Buffer.from(stated.hex, "hex") : repeated(stated));
}

function unwrapperOf(vector) {
  if ("private_key" in vector) return unwrapWith(Buffer.from(vector.private_key, "base64"));
  return () => Buffer.from(vector.dek, "hex");
}

/** An explanation of what is wrong, or null. */
function checkVector(vector, known) {
  const data = bytesOf(vector.envelope, known);
  known.set(vector.name, data);
  if (sha256(data) !== vector.sha256) return "the envelope does not have the stated digest";
  const released = [];
  const given = {
    unwrap: unwrapperOf(vector),
    aad: Buffer.from(vector.aad ?? "", "hex"),
    expectedContext: vector.expected_context ?? null,
  };
  let outcome = { outcome: "success" };
  try {
    decode(data, given, (chunk) => released.push(chunk));
  } catch (error) {
    if (!(error instanceof Refused)) return `an error of the decoder: ${error.stack}`;
    outcome = error;
  }
  if (outcome.outcome !== vector.expect) return `${outcome.outcome} (${outcome.refusal}), not ${vector.expect}`;
  if (vector.refusal && outcome.refusal !== vector.refusal) return `refused by ${outcome.refusal}, not ${vector.refusal}`;
  return agrees(vector, Buffer.concat(released)) ? null : "another plaintext";
}

function checkDerivation(made) {
  const suite = [...SUITES.values()].find(({ name }) => name === made.suite);
  const hex = (name) => Buffer.from(made[name], "hex");
  const context = contextBytes(made.context, hex("aad"));
  const keys = derive(suite, hex("dek"), hex("salt"), context);
  const found = [context, keys.key, keys.baseNonce, keys.commitment].map((value) => value.toString("hex"));
  if (found.join() !== [made.context_bytes, made.key, made.base_nonce, made.commitment].join()) return "other values";
  for (const { index, nonce, offset, sealed } of made.chunks) {
    if (nonceOf(keys.baseNonce, index).toString("hex") !== nonce) return `another nonce for chunk ${index}`;
    if (BODY_PREFIX + SEALED * index !== offset) return `another offset for chunk ${index}`;
    const plaintext = openChunk(suite, keys, index, Buffer.from(sealed, "hex"));
    if (plaintext.toString("hex") !== made.plaintext) return `another plaintext of chunk ${index}`;
  }
  return null;
}

function checkFiles(paths) {
  const counts = {};
  let failures = 0;
  for (const path of paths) {
    const known = new Map();
    for (const vector of JSON.parse(readFileSync(path, "utf-8")).vectors) {
      const wrong = "chunks" in vector ? checkDerivation(vector) : checkVector(vector, known);
      const kind = vector.expect ?? "derivation";
      counts[kind] = (counts[kind] ?? 0) + 1;
      if (wrong) {
        failures += 1;
        console.error(`${path}: ${vector.name}: ${wrong}`);
      }
    }
  }
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const kinds = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
  console.log(`${total - failures} of ${total} vectors as expected (${kinds.join(", ")})`);
  return failures ? 1 : 0;
}

function openFile(path, dek, aad = "") {
  const released = [];
  const given = { unwrap: () => Buffer.from(dek, "hex"), aad: Buffer.from(aad, "hex") };
  try {
    decode(readFileSync(path), given, (chunk) => released.push(chunk));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    console.error(error.outcome);
    return 1;
  }
  process.stdout.write(Buffer.concat(released));
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [command, ...rest] = process.argv.slice(2);
  if (command === "vectors" && rest.length) process.exitCode = checkFiles(rest);
  else if (command === "open" && rest.length >= 2) process.exitCode = openFile(...rest);
  else {
    console.error("usage: node decode.mjs vectors FILE... | open FILE DEK [AAD]");
    process.exitCode = 2;
  }
}
