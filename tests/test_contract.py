"""The public API, name by name: what applications are written against must not change unseen."""

from __future__ import annotations

import inspect as python_inspect
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import kmsenvelope
from kmsenvelope import (
    CachePolicy,
    ContextMismatch,
    EnvelopeClient,
    EnvelopeError,
    Header,
    KeyUnavailable,
    Kms,
    KmsError,
    LocalKms,
    NoUsableKey,
    PrivateKey,
    PublicKey,
    TencentKms,
    connect,
    decrypt_file,
    encrypt_file,
    inspect,
)
from kmsenvelope.emulator.server import Emulator

CONTEXT = {"tenant": "42"}
AAD = b"row 7"
SUITES = ("AES-256-GCM", "AES-128-GCM", "SM4-GCM")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def tencent(emulator: Emulator, region: str) -> TencentKms:
    return TencentKms(
        region, secret_id=emulator.secret_id, secret_key=emulator.secret_key, endpoint=emulator.endpoint
    )


@pytest.fixture(scope="module", params=["local", "tencent"])
def kms(
    request: pytest.FixtureRequest, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kms]:
    local = request.param == "local"
    store = tmp_path_factory.mktemp("store") / "keys.db"
    with LocalKms(store) if local else tencent(emulator, "ap-guangzhou") as made:
        yield made


@pytest.fixture(scope="module")
def key_id(kms: Kms) -> str:
    return kms.create_key(alias="contract")


@pytest.fixture
def client(kms: Kms, key_id: str) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key(key_id)) as made:
        yield made


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,amount\n" * 5000)
    return path


def test_the_public_names() -> None:
    assert set(kmsenvelope.__all__) == {
        *("EnvelopeClient", "CachePolicy", "CacheEvent", "Suite"),
        *("Kms", "TencentKms", "LocalKms", "MasterKey", "PublicKey", "PrivateKey", "Retry"),
        *("Header", "Recipient", "EncryptingWriter", "DecryptingReader", "RewrapResult"),
        *("encrypt_file", "decrypt_file", "inspect", "connect"),
        *("EnvelopeError", "FormatError", "AuthenticationError", "TruncatedError", "ContextMismatch"),
        *("NoUsableKey", "KmsError", "KmsThrottled", "KmsUnavailable", "KmsAccessDenied", "KeyUnavailable"),
        "RecipientSkipped",
    }
    for name in kmsenvelope.__all__:
        assert python_inspect.getdoc(getattr(kmsenvelope, name)), f"{name} has no docstring"


def test_every_public_method_has_a_docstring() -> None:
    undocumented = [
        f"{name}.{member}"
        for name in kmsenvelope.__all__
        if python_inspect.isclass(thing := getattr(kmsenvelope, name))
        for member in vars(thing)
        if not member.startswith("_") and member not in getattr(thing, "__dataclass_fields__", ())
        if python_inspect.isroutine(getattr(thing, member))
        and not python_inspect.getdoc(getattr(thing, member))
    ]
    assert undocumented == []


def test_the_hierarchy_of_errors() -> None:
    for name, base in {
        "FormatError": EnvelopeError,
        "AuthenticationError": EnvelopeError,
        "TruncatedError": kmsenvelope.AuthenticationError,
        "ContextMismatch": EnvelopeError,
        "NoUsableKey": EnvelopeError,
        "KmsError": EnvelopeError,
        "KmsThrottled": KmsError,
        "KmsUnavailable": KmsError,
        "KmsAccessDenied": KmsError,
        "KeyUnavailable": KmsError,
    }.items():
        assert getattr(kmsenvelope, name).__bases__ == (base,)


def test_a_local_store_is_a_private_file_made_when_missing(tmp_path: Path) -> None:
    with LocalKms(tmp_path / "keys.db") as kms:
        key_id = kms.create_key(alias="demo")
        assert kms.key("demo").key_id == kms.key(key_id).key_id == key_id
        assert kms.key("demo").kms is kms
    assert (tmp_path / "keys.db").stat().st_mode & 0o777 == 0o600
    with LocalKms(str(tmp_path / "keys.db")) as again:
        assert again.key("demo").key_id == key_id
    with LocalKms() as memory, pytest.raises(KeyUnavailable):
        memory.key("demo").encrypt(b"another store")


def test_bytes(client: EnvelopeClient) -> None:
    for data in (b"data", bytearray(b"data"), memoryview(b"data")):
        blob = client.encrypt(data, context=CONTEXT, aad=AAD)
        assert type(blob) is bytes
        assert client.decrypt(memoryview(blob), context=CONTEXT, aad=AAD) == b"data"
        assert client.decrypt(blob, aad=AAD) == b"data"
    with pytest.raises(TypeError):
        client.encrypt("data")  # type: ignore[arg-type]


def test_another_context_is_refused_before_any_kms_call(
    kms: Kms, key_id: str, client: EnvelopeClient
) -> None:
    blob = client.encrypt(b"data", context=CONTEXT)
    reader = EnvelopeClient(kms.key(key_id))
    with pytest.raises(ContextMismatch):
        reader.decrypt(blob, context={"tenant": "43"})
    assert reader.stats()["kms_calls"] == {}


@pytest.mark.parametrize("suite", SUITES)
def test_suites_and_cache_policy(kms: Kms, key_id: str, suite: str) -> None:
    cache = CachePolicy(max_age=300, max_messages=10_000, max_bytes=1 << 40)
    client = EnvelopeClient(kms.key(key_id), suite=suite, cache=cache)
    blobs = [client.encrypt(b"data") for _ in range(5)]
    assert inspect(blobs[0]).suite == suite
    assert [EnvelopeClient(kms.key(key_id)).decrypt(blob) for blob in blobs] == [b"data"] * 5
    assert client.stats()["kms_calls"] == {"GenerateDataKey": 1}


def test_several_recipients_and_either_opens(emulator: Emulator) -> None:
    with tencent(emulator, "ap-guangzhou") as gz, tencent(emulator, "ap-shanghai") as sh:
        a, b = gz.create_key("several"), sh.create_key("several")
        client = EnvelopeClient(gz.key(a), sh.key(b))
        blob = client.encrypt(b"data")
        assert client.stats()["kms_calls"] == {"GenerateDataKey": 1, "Encrypt": 1}
        assert [recipient.region for recipient in inspect(blob).recipients] == ["ap-guangzhou", "ap-shanghai"]
        assert EnvelopeClient(gz.key(a)).decrypt(blob) == EnvelopeClient(sh.key(b)).decrypt(blob) == b"data"


@pytest.mark.parametrize("usage", ["ASYMMETRIC_DECRYPT_RSA_2048", "ASYMMETRIC_DECRYPT_SM2"])
def test_a_public_key_only_encrypts(kms: Kms, usage: str) -> None:
    if usage.endswith("SM2"):
        pytest.importorskip("gmssl")
    key_id = kms.create_key(f"inbox-{usage[-4:]}", usage=usage)
    pem = kms.public_key(key_id).to_pem()
    public = PublicKey.from_pem(pem, key_id=key_id, kms=kms.name, region=kms.region)
    blob = EnvelopeClient(public).encrypt(b"data")
    with pytest.raises(NoUsableKey):
        EnvelopeClient(public).decrypt(blob)
    assert EnvelopeClient(kms.key(key_id)).decrypt(blob) == b"data"


def test_files(client: EnvelopeClient, plain: Path, tmp_path: Path) -> None:
    sealed, back, seen = tmp_path / "a.csv.kmse", tmp_path / "back", []
    header = client.encrypt_file(
        plain,
        sealed,
        context=CONTEXT,
        aad=AAD,
        progress=lambda done, total: seen.append((done, total)),
        overwrite=False,
    )
    assert header == inspect(sealed)
    assert seen[-1] == (50_000, 50_000)
    client.decrypt_file(
        str(sealed), str(back), context=CONTEXT, aad=AAD, progress=lambda done, total: None, overwrite=False
    )
    assert back.read_bytes() == plain.read_bytes()
    for act in (client.encrypt_file, client.decrypt_file):
        with pytest.raises(FileExistsError):
            act(sealed, back)
    assert client.verify_file(sealed, aad=AAD) == header


def test_streams_by_path_and_by_object(client: EnvelopeClient, tmp_path: Path) -> None:
    data = b"line\n" * 10_000
    path, memory = tmp_path / "log.kmse", io.BytesIO()
    for target in (path, memory):
        with client.open(target, "wb", context=CONTEXT) as writer:
            assert writer.write(data) == len(data)
    memory.seek(0)
    for source in (path, memory):
        with client.open(source, "rb") as reader:
            reader.seek(-100, 2)
            assert reader.read() == data[-100:]
            assert isinstance(reader, io.BufferedIOBase | io.RawIOBase)


def test_any_object_with_write_and_read_will_do(client: EnvelopeClient) -> None:
    class Sink:
        def __init__(self) -> None:
            self.taken = bytearray()

        def write(self, data: bytes | memoryview, /) -> int:
            self.taken += data[:7]
            return len(data[:7])

    class Source:
        def __init__(self, data: bytes) -> None:
            self.left = data

        def read(self, size: int, /) -> bytes:
            piece, self.left = self.left[: min(size, 7)], self.left[min(size, 7) :]
            return piece

    sink = Sink()
    with client.open(sink, "wb") as writer:
        writer.write(b"data" * 1000)
    with client.open(Source(bytes(sink.taken)), "rb") as reader:
        assert reader.read() == b"data" * 1000


def test_rewrap_file_leaves_the_body(kms: Kms, client: EnvelopeClient, plain: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "a.kmse"
    client.encrypt_file(plain, sealed)
    body = sealed.read_bytes()[-50_000:]
    new = kms.key(kms.create_key("contract-new"))
    client.rewrap_file(sealed, keys=[new])
    assert sealed.read_bytes()[-50_000:] == body
    assert [recipient.key_id for recipient in inspect(sealed).recipients] == [new.key_id]
    assert EnvelopeClient(new).verify_file(sealed)
    EnvelopeClient(new, *client_keys(client)).rewrap_file(sealed)  # default: the client's own
    assert client.verify_file(sealed)


def client_keys(client: EnvelopeClient) -> tuple[object, ...]:
    return tuple(pickle.loads(pickle.dumps(client))._keys)


def test_inspect_takes_path_bytes_or_file(client: EnvelopeClient, key_id: str, tmp_path: Path) -> None:
    blob = client.encrypt(b"data", context=CONTEXT)
    path = tmp_path / "blob"
    path.write_bytes(blob)
    for envelope in (path, str(path), blob, io.BytesIO(blob)):
        header = inspect(envelope)
        assert isinstance(header, Header)
        assert (header.suite, header.context) == ("AES-256-GCM", CONTEXT)
        assert [recipient.key_id for recipient in header.recipients] == [key_id]


def test_any_action_of_the_kms(kms: Kms, key_id: str) -> None:
    assert kms.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]["KeyId"] == key_id
    assert len(kms.call("GenerateRandom", {"NumberOfBytes": 16})["Plaintext"]) == 24
    with pytest.raises(KmsError) as caught:
        kms.call("DescribeKey", {"KeyId": "3d0c2a5e-0000-0000-0000-000000000000"})
    error = caught.value
    assert (error.code, error.action, error.retryable) == (
        "ResourceUnavailable.CmkNotFound",
        "DescribeKey",
        False,
    )
    assert (error.request_id is None) == (kms.name == "local")


def test_statistics(client: EnvelopeClient) -> None:
    blobs = [client.encrypt(b"data") for _ in range(3)]
    for blob in blobs:
        client.decrypt(blob)
    stats = client.stats()
    assert stats["kms_calls"] == {"GenerateDataKey": 1, "Decrypt": 1}
    assert (stats["hits"], stats["misses"], stats["waits"]) == (4, 2, 0)
    assert {"evictions", "refreshes", "latency"} <= set(stats)


def test_addresses(emulator: Emulator, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMSENVELOPE_HOME", str(tmp_path))
    monkeypatch.setenv("KMSENVELOPE_ENDPOINT", emulator.endpoint)
    monkeypatch.setenv("TENCENTCLOUD_SECRET_ID", emulator.secret_id)
    monkeypatch.setenv("TENCENTCLOUD_SECRET_KEY", emulator.secret_key)
    with LocalKms(tmp_path / "keys.db") as local, tencent(emulator, "ap-guangzhou") as cloud:
        local_id, cloud_id = local.create_key("demo"), cloud.create_key("demo")
    addresses = (
        "local:demo",
        f"local:{local_id}",
        f"local:{tmp_path}/keys.db#demo",
        f"tencent:ap-guangzhou/{cloud_id}",
        "tencent:ap-guangzhou/demo",
    )
    for number, address in enumerate(addresses):
        encrypt_file(plain, tmp_path / f"{number}.kmse", key=address)
        decrypt_file(tmp_path / f"{number}.kmse", tmp_path / f"{number}.csv", key=address)
        assert (tmp_path / f"{number}.csv").read_bytes() == plain.read_bytes()
        with connect(address, suite="SM4-GCM") as client:
            assert inspect(client.encrypt(b"data")).suite == "SM4-GCM"


def test_a_pickled_client_works_and_carries_no_key(client: EnvelopeClient) -> None:
    blob = client.encrypt(b"data")
    again = pickle.loads(pickle.dumps(client))
    assert again.stats()["held"] != client.stats()["held"]
    assert again.decrypt(blob) == b"data"


def test_the_four_practices(kms: Kms, key_id: str) -> None:
    secret = kms.key(key_id).encrypt(b"password", {"app": "billing"})
    assert type(secret) is str
    assert kms.decrypt(secret, {"app": "billing"}) == b"password"
    rsa = kms.create_key("practice-3", usage="ASYMMETRIC_DECRYPT_RSA_2048")
    assert kms.asymmetric_decrypt(rsa, kms.public_key(rsa).encrypt(b"note")) == b"note"
    external = kms.create_key("practice-4", external=True)
    kms.import_key_material(external, bytes(range(32)))
    sealed = EnvelopeClient(kms.key(external)).encrypt(b"data")
    kms.delete_key_material(external)
    with pytest.raises(NoUsableKey, match="import the material"):
        EnvelopeClient(kms.key(external)).decrypt(sealed)
    kms.import_key_material(external, bytes(range(32)))
    assert EnvelopeClient(kms.key(external)).decrypt(sealed) == b"data"


def test_a_private_key_of_ones_own() -> None:
    private = PrivateKey.generate_hybrid()
    blob = EnvelopeClient(PublicKey.from_pem(private.public_key.to_pem())).encrypt(b"data")
    assert EnvelopeClient(PrivateKey.from_pem(private.to_pem())).decrypt(blob) == b"data"
