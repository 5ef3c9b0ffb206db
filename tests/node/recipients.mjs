// Opens a DEK that was wrapped for an RSA, SM2 or hybrid public key. For tests: it is not constant in time.

import { constants, createECDH, createHash, createPrivateKey, createPublicKey, ECDH, privateDecrypt } from "node:crypto";
import { openHybrid, parseHybrid } from "./hybrid.mjs";

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const UNWRAP = {
  RSAES_OAEP_SHA_256: openOaep,
  SM2_C1C3C2_ASN1: openSm2,
  HPKE_MLKEM768_X25519_HKDF_SHA256_AES_256_GCM: openHybrid,
};

/** A function from a header to its DEK, by one private key (PKCS #8 in DER) that is in no KMS; null if it opens none. */
export function unwrapWith(der) {
  const key = parseHybrid(der) ?? createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const info = key.spki ?? createPublicKey(key).export({ format: "der", type: "spki" });
  const fingerprint = createHash("sha256").update(info).digest("hex");
  return ({ suite, recipients }) => {
    for (const { kms, key_id, region, alg, wrapped } of recipients) {
      if (kms !== "local-key" || region !== undefined || key_id !== fingerprint || !Object.hasOwn(UNWRAP, alg)) continue;
      const dek = BASE64.test(wrapped) ? attempt(() => UNWRAP[alg](key, Buffer.from(wrapped, "base64"))) : null;
      if (dek !== null && dek.length === suite.keySize) return dek;
    }
    return null;
  };
}

function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

function openOaep(key, wrapped) {
  return privateDecrypt({ key, oaepHash: "sha256", padding: constants.RSA_PKCS1_OAEP_PADDING }, wrapped);
}

const sm3 = (...parts) => createHash("sm3").update(Buffer.concat(parts)).digest();

/** GB/T 32918.4. ECDH gives the x of the shared point only, so both points with that x are tried; C3 decides. */
function openSm2(key, wrapped) {
  const { point, c3, c2 } = parseSm2(wrapped);
  const exported = key.export({ format: "der", type: "pkcs8" });
  const start = exported.indexOf(Buffer.from("0201010420", "hex")) + 5;
  const ecdh = createECDH("SM2");
  ecdh.setPrivateKey(exported.subarray(start, start + 32));
  const x = ecdh.computeSecret(point);
  for (const parity of [2, 3]) {
    const shared = ECDH.convertKey(Buffer.concat([Buffer.of(parity), x]), "SM2", undefined, undefined, "uncompressed");
    const blocks = Array.from({ length: Math.ceil(c2.length / 32) }, (_, at) =>
      sm3(shared.subarray(1), Buffer.of(0, 0, 0, at + 1)));
    const stream = Buffer.concat(blocks);
    const plaintext = c2.map((byte, at) => byte ^ stream[at]);
    if (sm3(x, plaintext, shared.subarray(33)).equals(c3)) return plaintext;
  }
  return null;
}

/** SEQUENCE { INTEGER x, INTEGER y, OCTET STRING C3, OCTET STRING C2 }, and nothing after it. */
function parseSm2(data) {
  const outer = takeAll(data, [0x30])[0];
  const [x, y, c3, c2] = takeAll(outer, [0x02, 0x02, 0x04, 0x04]);
  if (c3.length !== 32) throw new Error("C3 is no SM3 digest");
  return { point: Buffer.concat([Buffer.of(4), coordinate(x), coordinate(y)]), c3, c2 };
}

function coordinate(integer) {
  const digits = integer[0] === 0 ? integer.subarray(1) : integer;
  if (digits.length > 32 || (integer[0] & 0x80)) throw new Error("not a coordinate");
  return Buffer.concat([Buffer.alloc(32 - digits.length), digits]);
}

/** The contents of the DER values with these tags, which must be all of `data`; none is over 255 bytes. */
function takeAll(data, tags) {
  const contents = tags.map((tag) => {
    if (data[0] !== tag) throw new Error("unexpected tag");
    const long = data[1] === 0x81;
    if (data[1] > 0x81 || (data[1] === 0x80) || (long && data[2] < 0x80)) throw new Error("unexpected length");
    const start = long ? 3 : 2;
    const end = start + (long ? data[2] : data[1]);
    if (end > data.length) throw new Error("cut short");
    const content = data.subarray(start, end);
    data = data.subarray(end);
    return content;
  });
  if (data.length) throw new Error("data after the end");
  return contents;
}
