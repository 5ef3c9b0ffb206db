"""The guide's practices by tccli, the bare SDK and openssl against the emulator, over real sockets."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import models
from tencentcloud.kms.v20190118.kms_client import KmsClient

from kmsenvelope.emulator.server import Emulator

TCCLI = Path(sys.executable).with_name("tccli")
OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(
    not TCCLI.exists() or OPENSSL is None, reason="needs tccli (dev group) and openssl"
)

OAEP_SHA_256 = ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256")
PADDINGS = {
    "RSAES_PKCS1_V1_5": ("rsa_padding_mode:pkcs1",),
    "RSAES_OAEP_SHA_1": ("rsa_padding_mode:oaep", "rsa_oaep_md:sha1", "rsa_mgf1_md:sha1"),
    "RSAES_OAEP_SHA_256": OAEP_SHA_256,
}


class Refused(Exception):
    """An error of the API, by its code."""


class Tccli:
    """tccli as a process with its own HOME, as in its manual."""

    def __init__(self, emulator: Emulator, home: Path) -> None:
        self._endpoint = emulator.endpoint
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"], **emulator.environment()}

    def __call__(self, action: str, **params: object) -> dict[str, Any]:
        command = [TCCLI, "kms", action, "--endpoint", self._endpoint]
        for name, value in params.items():
            command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise Refused(done.stderr.partition("code:")[2].partition(" ")[0])
        return json.loads(done.stdout)


class Sdk:
    """The bare SDK, with its own models."""

    def __init__(self, emulator: Emulator) -> None:
        profile = ClientProfile(httpProfile=HttpProfile(endpoint=emulator.endpoint))
        credential = Credential(emulator.secret_id, emulator.secret_key)
        self._client = KmsClient(credential, emulator.region, profile)

    def __call__(self, action: str, **params: object) -> dict[str, Any]:
        request = getattr(models, f"{action}Request")()
        request.from_json_string(json.dumps(params))
        try:
            return json.loads(getattr(self._client, action)(request).to_json_string())
        except TencentCloudSDKException as error:
            raise Refused(error.code) from None

    def close(self) -> None:
        self._client.request.conn._session.close()


@pytest.fixture(scope="module")
def server():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(server):
    server.reset()
    return server


@pytest.fixture(params=["tccli", "sdk"])
def call(request, emulator, tmp_path):
    if request.param == "tccli":
        yield Tccli(emulator, tmp_path)
    else:
        sdk = Sdk(emulator)
        yield sdk
        sdk.close()


def openssl_encrypt(folder: Path, public_key: str, data: bytes, options: tuple[str, ...]) -> str:
    """Base64 of ``data`` encrypted to a Base64 DER public key, as the guide does it."""
    (folder / "public.der").write_bytes(base64.b64decode(public_key))
    (folder / "plain.bin").write_bytes(data)
    command = (
        f"{OPENSSL} pkeyutl -encrypt -pubin -keyform DER -inkey public.der -in plain.bin -out sealed.bin"
    )
    chosen = [part for option in options for part in ("-pkeyopt", option)]
    subprocess.run([*command.split(), *chosen], cwd=folder, check=True, capture_output=True, timeout=60)
    return base64.b64encode((folder / "sealed.bin").read_bytes()).decode()


def test_small_secrets_and_envelopes(call):
    key_id = call("CreateKey", Alias="practice-1", Description="中文描述")["KeyId"]
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["Description"] == "中文描述"
    context = '{"key1": "value1"}'
    secret = base64.b64encode(b"a database password").decode()
    sealed = call("Encrypt", KeyId=key_id, Plaintext=secret, EncryptionContext=context)["CiphertextBlob"]
    opened = call("Decrypt", CiphertextBlob=sealed, EncryptionContext=context)
    assert (opened["KeyId"], opened["Plaintext"]) == (key_id, secret)
    with pytest.raises(Refused, match="InvalidCiphertext"):
        call("Decrypt", CiphertextBlob=sealed)
    data_key = call("GenerateDataKey", KeyId=key_id, KeySpec="AES_256")
    assert len(base64.b64decode(data_key["Plaintext"])) == 32
    assert call("Decrypt", CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]
    call("DisableKey", KeyId=key_id)
    with pytest.raises(Refused, match="CmkDisabled"):
        call("Decrypt", CiphertextBlob=data_key["CiphertextBlob"])


def test_asymmetric_rsa(call, tmp_path):
    key_id = call("CreateKey", Alias="practice-3", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")["KeyId"]
    public_key = call("GetPublicKey", KeyId=key_id)["PublicKey"]
    sealed = openssl_encrypt(tmp_path, public_key, b"test\n", OAEP_SHA_256)
    opened = call("AsymmetricRsaDecrypt", KeyId=key_id, Algorithm="RSAES_OAEP_SHA_256", Ciphertext=sealed)
    assert opened["Plaintext"] == "dGVzdAo="


def test_asymmetric_sm2(call, tmp_path):
    key_id = call("CreateKey", Alias="practice-3", KeyUsage="ASYMMETRIC_DECRYPT_SM2")["KeyId"]
    public_key = call("GetPublicKey", KeyId=key_id)["PublicKey"]
    sealed = openssl_encrypt(tmp_path, public_key, b"test\n", ())
    assert call("AsymmetricSm2Decrypt", KeyId=key_id, Ciphertext=sealed)["Plaintext"] == "dGVzdAo="


@pytest.mark.parametrize("algorithm", PADDINGS)
def test_own_key_material(call, emulator, tmp_path, algorithm):
    key_id = call("CreateKey", Alias="practice-4", Type=2)["KeyId"]
    parameters = call(
        "GetParametersForImport", KeyId=key_id, WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048"
    )
    material = bytes(range(32))
    sealed = openssl_encrypt(tmp_path, parameters["PublicKey"], material, PADDINGS[algorithm])
    request = {"KeyId": key_id, "EncryptedKeyMaterial": sealed, "ImportToken": parameters["ImportToken"]}
    call("ImportKeyMaterial", **request)
    blob = call("Encrypt", KeyId=key_id, Plaintext="YQ==")["CiphertextBlob"]
    call("DeleteImportedKeyMaterial", KeyId=key_id)
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingImport"
    with pytest.raises(Refused, match="ResourceUnavailable"):
        call("Decrypt", CiphertextBlob=blob)
    call("ImportKeyMaterial", **request, ValidTo=2147443200)
    assert call("Decrypt", CiphertextBlob=blob)["Plaintext"] == "YQ=="
    emulator.clock.advance(days=1)
    with pytest.raises(Refused, match="TokenExpired"):
        call("ImportKeyMaterial", **request)


def test_sign_and_verify_with_openssl(call, tmp_path):
    key_id = call("CreateKey", Alias="sign", KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")["KeyId"]
    signed = call("SignByAsymmetricKey", KeyId=key_id, Algorithm="ECC_P256_R1", Message="dGVzdA==")
    (tmp_path / "public.der").write_bytes(base64.b64decode(call("GetPublicKey", KeyId=key_id)["PublicKey"]))
    (tmp_path / "signature").write_bytes(base64.b64decode(signed["Signature"]))
    (tmp_path / "message").write_bytes(b"test")
    command = f"{OPENSSL} dgst -sha256 -keyform DER -verify public.der -signature signature message"
    done = subprocess.run(
        command.split(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Verified OK" in done.stdout


def test_an_operator_s_round(call):
    tags = [{"TagKey": "env", "TagValue": "dev"}]
    one = call("CreateKey", Alias="one", Tags=tags)["KeyId"]
    two = call("CreateKey", Alias="two")["KeyId"]
    call("DisableKeys", KeyIds=[one, two])
    found = call("ListKeyDetail", KeyState=2, KeyUsage="ALL", TagFilters=[{"TagKey": "env"}])
    assert [each["KeyId"] for each in found["KeyMetadatas"]] == [one]
    assert call("ScheduleKeyDeletion", KeyId=two, PendingWindowInDays=7)["DeletionDate"]
    call("CancelKeyDeletion", KeyId=two)
    call("EnableKeys", KeyIds=[one, two])
    call("EnableKeyRotation", KeyId=one, RotateDays=30)
    assert call("RotateKey", KeyId=one)["TaskId"]
    assert call("GetServiceStatus")["CmkUserCount"] == 2
    assert call("ListAlgorithms")["AsymmetricAlgorithms"]
    with pytest.raises(Refused, match="AliasAlreadyExists"):
        call("CreateKey", Alias="one")


def test_what_one_client_wraps_the_others_unwrap(emulator, tmp_path):
    tccli, sdk = Tccli(emulator, tmp_path), Sdk(emulator)
    key_id = sdk("CreateKey", Alias="shared")["KeyId"]
    by_tccli = tccli("GenerateDataKey", KeyId=key_id, KeySpec="AES_128", EncryptionContext='{"a":"1"}')
    by_sdk = sdk("GenerateDataKey", KeyId=key_id, KeySpec="AES_128", EncryptionContext='{"a":"1"}')
    for maker, opener in ((by_tccli, sdk), (by_sdk, tccli)):
        opened = opener("Decrypt", CiphertextBlob=maker["CiphertextBlob"], EncryptionContext='{"a":"1"}')
        assert opened["Plaintext"] == maker["Plaintext"]
    sdk.close()


def test_temporary_credentials_by_the_sdk(emulator):
    temporary = emulator.accounts.temporary(60)
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=emulator.endpoint))
    client = KmsClient(Credential(*temporary), emulator.region, profile)
    assert client.GetRegions(models.GetRegionsRequest()).Regions
    emulator.clock.advance(61)
    with pytest.raises(TencentCloudSDKException) as caught:
        client.GetRegions(models.GetRegionsRequest())
    assert caught.value.code == "AuthFailure.TokenFailure"
    client.request.conn._session.close()


@pytest.mark.parametrize("how", ["get", "unsigned", "clean host"])
def test_the_sdk_s_other_ways_to_send(emulator, how):
    clean = {"protocol": "http", "endpoint": emulator.endpoint.removeprefix("http://")}
    http_profile = HttpProfile(**(clean if how == "clean host" else {"endpoint": emulator.endpoint}))
    http_profile.reqMethod = "GET" if how == "get" else "POST"
    profile = ClientProfile(httpProfile=http_profile)
    profile.unsignedPayload = how == "unsigned"
    client = KmsClient(Credential(emulator.secret_id, emulator.secret_key), emulator.region, profile)
    request = models.CreateKeyRequest()
    request.from_json_string(json.dumps({"Alias": "x", "Tags": [{"TagKey": "a", "TagValue": "b c&d"}]}))
    key_id = client.CreateKey(request).KeyId
    batch = models.DescribeKeysRequest()
    batch.KeyIds = [key_id]
    assert client.DescribeKeys(batch).KeyMetadatas[0].Alias == "x"
    client.request.conn._session.close()


def test_the_emulator_as_a_process(tmp_path):
    command = [sys.executable, "-m", "kmsenvelope.emulator", "--port", "0", "--data", str(tmp_path / "k.db")]
    command += ["--secret-id", "AKIDx", "--secret-key", "y"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            said = dict(process.stdout.readline().rstrip().split(": ", 1) for _ in range(4))
            assert (said["secret id"], said["secret key"]) == ("AKIDx", "y")
            profile = ClientProfile(httpProfile=HttpProfile(endpoint=said["endpoint"]))
            client = KmsClient(Credential("AKIDx", "y"), said["region"], profile)
            request = models.CreateKeyRequest()
            request.Alias = "kept"
            key_id = client.CreateKey(request).KeyId
            client.request.conn._session.close()
        finally:
            process.terminate()
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    with Emulator(data=tmp_path / "k.db") as emulator:
        assert emulator.engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]["Alias"] == "kept"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "/nowhere/k.db"], "No such file"),
        (["--host", "192.0.2.1", "--port", "0"], "assign requested address"),
        (["--passphrase-file", "/nowhere/pw"], "No such file"),
    ],
)
def test_a_process_that_cannot_start_says_why_in_one_line(options, message):
    command = [sys.executable, "-m", "kmsenvelope.emulator", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
