// The hybrid recipient: HPKE in base mode (RFC 9180) with X-Wing, HKDF-SHA256 and AES-256-GCM.
// For tests: it is not constant in time.

import { createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { CIPHERTEXT, decapsulate, generate } from "./mlkem.mjs";

const ALGORITHM = Buffer.from("300d060b2b0601040183e62d81c87a", "hex");
const PKCS8 = Buffer.concat([Buffer.from("3034020100", "hex"), ALGORITHM, Buffer.from("0420", "hex")]);
const SPKI = Buffer.concat([Buffer.from("308204d4", "hex"), ALGORITHM, Buffer.from("038204c100", "hex")]);
const X25519_PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const X25519_SPKI = Buffer.from("302a300506032b656e032100", "hex");
const ENCAPSULATED = CIPHERTEXT + 32;
const TAG = 16;

const INFO = Buffer.from("kmsenvelope/1 dek");
const SUITE = Buffer.concat([Buffer.from("HPKE"), Buffer.of(0x64, 0x7a, 0, 1, 0, 2)]);
const VERSION = Buffer.from("HPKE-v1");

/** The key pair of a PKCS #8 private key in DER, or null if it is of another kind. */
export function parseHybrid(der) {
  if (der.length !== PKCS8.length + 32 || !der.subarray(0, PKCS8.length).equals(PKCS8)) return null;
  const expanded = createHash("shake256", { outputLength: 96 }).update(der.subarray(PKCS8.length)).digest();
  const mlkem = generate(expanded.subarray(0, 64));
  const scalar = Buffer.concat([X25519_PKCS8, expanded.subarray(64)]);
  const x25519 = createPrivateKey({ key: scalar, format: "der", type: "pkcs8" });
  const point = createPublicKey(x25519).export({ format: "der", type: "spki" }).subarray(X25519_SPKI.length);
  return { mlkem, x25519, point, spki: Buffer.concat([SPKI, mlkem.publicKey, point]) };
}

/** The DEK; throws if it was not wrapped for this key. */
export function openHybrid(pair, wrapped) {
  if (wrapped.length < ENCAPSULATED + TAG) throw new Error("cut short");
  const { key, nonce } = keySchedule(sharedSecret(pair, wrapped.subarray(0, ENCAPSULATED)));
  const cipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG });
  cipher.setAuthTag(wrapped.subarray(-TAG));
  return Buffer.concat([cipher.update(wrapped.subarray(ENCAPSULATED, -TAG)), cipher.final()]);
}

/** X-Wing. OpenSSL refuses a point that makes the secret of X25519 zero. */
function sharedSecret({ mlkem, x25519, point }, encapsulated) {
  const ephemeral = encapsulated.subarray(CIPHERTEXT);
  const publicKey = createPublicKey({ key: Buffer.concat([X25519_SPKI, ephemeral]), format: "der", type: "spki" });
  const parts = [
    decapsulate(mlkem, encapsulated.subarray(0, CIPHERTEXT)),
    diffieHellman({ privateKey: x25519, publicKey }),
    ephemeral,
    point,
    Buffer.from("\\.//^\\"),
  ];
  return createHash("sha3-256").update(Buffer.concat(parts)).digest();
}

/** RFC 9180, section 5.1, in base mode. */
function keySchedule(shared) {
  const nothing = Buffer.alloc(0);
  const context = Buffer.concat([
    Buffer.of(0), extract(nothing, "psk_id_hash", nothing), extract(nothing, "info_hash", INFO)]);
  const secret = extract(shared, "secret", nothing);
  return { key: expand(secret, "key", context, 32), nonce: expand(secret, "base_nonce", context, 12) };
}

const labeled = (label, data) => Buffer.concat([VERSION, SUITE, Buffer.from(label), data]);
const hmac = (key, data) => createHmac("sha256", key).update(data).digest();
const extract = (salt, label, data) => hmac(salt, labeled(label, data));

/** LabeledExpand for at most 32 bytes, which is one block of HKDF-Expand. */
function expand(secret, label, info, size) {
  return hmac(secret, Buffer.concat([Buffer.of(0, size), labeled(label, info), Buffer.of(1)])).subarray(0, size);
}
