"""keys, secret, public-key, asymmetric and doctor, in this process."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from clikit import Shell

from kmsenvelope import LocalKms
from kmsenvelope.cli.keys import details

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_create_prints_an_address_that_works(shell: Shell) -> None:
    made = shell("keys", "create", "next")
    assert re.fullmatch(rf"local:{ID}\n", made.out)
    assert made.err == ""
    path = shell.envelope(b"data", "-k", made.out.strip())
    assert shell("decrypt", path, "-", "-k", "local:next").data == b"data"


def test_create_in_another_store_prints_an_address_with_its_path(shell: Shell) -> None:
    store = shell.folder / "other.db"
    made = shell("keys", "create", "k", "--store", store)
    assert re.fullmatch(rf"local:{re.escape(str(store))}#{ID}\n", made.out)
    assert "no HSM" in made.err
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    path = shell.envelope(b"data", "-k", made.out.strip())
    assert shell("decrypt", path, "-", "-k", f"local:{store}#k").data == b"data"
    assert shell("keys", "show", made.out.strip(), "--json").code == 0
    assert shell("keys", "show", "k", "--kms", f"local:{store}", "--json").code == 0
    assert made.out.strip() in shell("keys", "show", "k", "--store", store, COLUMNS="300").out


def test_list_gives_a_line_with_tabs_for_each_key(shell: Shell) -> None:
    shell("keys", "create", "rsa", "--usage", "ASYMMETRIC_DECRYPT_RSA_2048")
    rows = [line.split("\t") for line in shell("keys", "list").out.splitlines()]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("demo", "Enabled", "ENCRYPT_DECRYPT"),
        ("rsa", "Enabled", "ASYMMETRIC_DECRYPT_RSA_2048"),
    ]
    assert all(re.fullmatch(ID, row[3]) for row in rows)
    assert [key["Alias"] for key in json.loads(shell("keys", "list", "--json").out)] == ["demo", "rsa"]


@pytest.mark.parametrize("page_size", [1, 3, 4, 200])
def test_list_pages_through_many_keys(page_size: int) -> None:
    with LocalKms() as kms:
        names = [f"key-{number}" for number in range(12)]
        for name in names:
            kms.create_key(name)
        assert [key["Alias"] for key in details(kms, page_size=page_size)] == names


def test_a_disabled_key_stops_and_an_enabled_one_goes_on(shell: Shell) -> None:
    path = shell.envelope(b"data")
    assert shell("keys", "disable", "demo").code == 0
    assert shell("decrypt", path, "-").code == 5
    assert shell("encrypt", path, shell.folder / "x").code == 5
    assert json.loads(shell("keys", "show", "demo", "--json").out)["KeyState"] == "Disabled"
    assert shell("keys", "enable", "local:demo").code == 0
    assert shell("decrypt", path, "-").data == b"data"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "create", "demo"), 6),
        (("keys", "create", "a/b"), 2),
        (("keys", "create", "kms-x"), 2),
        (("keys", "create", "x", "--usage", "NOTHING"), 6),
        (("keys", "show", "nobody"), 5),
        (("keys", "show", "local:demo", "--store", "x.db"), 2),
        (("keys", "list", "--store", "a.db", "--kms", "local"), 2),
        (("keys", "list", "--kms", "aws:eu-1"), 2),
        (("keys", "list", "--kms", "tencent:"), 2),
        (("keys", "list", "--store", "/nowhere/keys.db"), 5),
    ],
)
def test_key_commands_refuse(shell: Shell, arguments: tuple[str, ...], code: int) -> None:
    outcome = shell(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err


def test_reading_never_makes_a_store(shell: Shell) -> None:
    missing = shell.folder / "missing.db"
    for arguments in (
        ("encrypt", "-", shell.folder / "x", "-k", f"local:{missing}#demo"),
        ("keys", "list", "--store", missing),
        ("secret", "encrypt", "-k", f"local:{missing}#demo"),
    ):
        outcome = shell(*arguments, stdin=b"data")
        assert outcome.code == 5
        assert "keys create" in outcome.err
    assert shell.names() == set()


@pytest.mark.parametrize("size", [1, 4096])
def test_a_secret_comes_back(shell: Shell, size: int) -> None:
    secret = os.urandom(size)
    blob = shell("secret", "encrypt", "-c", "use=db", stdin=secret)
    assert re.fullmatch(rb"[\x21-\x7e]+\n", blob.data)
    assert shell("secret", "decrypt", "-c", "use=db", stdin=blob.data).data == secret
    assert shell("secret", "decrypt", "-c", "use=web", stdin=blob.data).code == 6
    source, sink = shell.file("blob", blob.data), shell.folder / "secret"
    assert shell("secret", "decrypt", source, sink, "-c", "use=db").code == 0
    assert sink.read_bytes() == secret
    assert shell("secret", "decrypt", source, sink, "-c", "use=db").code == 1


def test_a_secret_too_large_names_the_envelope(shell: Shell) -> None:
    outcome = shell("secret", "encrypt", stdin=bytes(4097))
    assert outcome.code == 2
    assert "kmsenvelope encrypt" in outcome.err
    assert shell("secret", "encrypt").code == 2
    assert shell("secret", "decrypt", stdin="ü".encode()).code == 2


@pytest.mark.parametrize("kind", ["RSA_2048", "SM2"])
def test_what_a_public_key_encrypts_the_kms_decrypts(shell: Shell, kind: str) -> None:
    if kind == "SM2":
        pytest.importorskip("gmssl")
    key = shell("keys", "create", "pair", "--usage", f"ASYMMETRIC_DECRYPT_{kind}").out.strip()
    pem = shell.folder / "public.pem"
    assert shell("public-key", key, "-o", pem).code == 0
    pin = shell("public-key", key, "--fingerprint").out.strip()
    offline = {"KMSENVELOPE_HOME": str(shell.folder / "nothing here"), "KMSENVELOPE_KEY": ""}
    sealed = shell("asymmetric", "encrypt", "-p", pem, "--pin", pin, stdin=b"data", **offline)
    assert sealed.code == 0, sealed.err
    assert shell("asymmetric", "decrypt", "-k", key, stdin=sealed.data).data == b"data"
    text = shell("asymmetric", "encrypt", "-k", key, "--base64", stdin=b"data")
    assert base64.b64decode(text.data)
    assert shell("asymmetric", "decrypt", "-k", key, "--base64", stdin=text.data).data == b"data"
    assert shell("asymmetric", "encrypt", "-p", pem, "--pin", "0" * 64, stdin=b"data").code == 2
    assert shell("asymmetric", "encrypt", "-p", pem, stdin=bytes(300)).code == 2


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_encrypts_to_an_exported_key(shell: Shell) -> None:
    key = shell("keys", "create", "pair", "--usage", "ASYMMETRIC_DECRYPT_RSA_2048").out.strip()
    pem = shell.folder / "public.pem"
    shell("public-key", key, "-o", pem)
    padding = ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256")
    options = [part for option in padding for part in ("-pkeyopt", option)]
    sealed = subprocess.run(
        ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(pem), *options],
        input=b"test\n",
        capture_output=True,
        check=True,
    ).stdout
    assert shell("asymmetric", "decrypt", "-k", key, stdin=sealed).data == b"test\n"


def test_asymmetric_needs_an_asymmetric_key(shell: Shell) -> None:
    outcome = shell("asymmetric", "decrypt", "-k", "local:demo", stdin=b"x" * 256)
    assert outcome.code == 2
    assert "ENCRYPT_DECRYPT" in outcome.err
    assert shell("asymmetric", "decrypt", "-k", "local:demo", "--base64", stdin=b"?").code == 2


def test_own_material_is_imported_deleted_and_imported_again(shell: Shell) -> None:
    assert shell("keys", "create", "own", "--external").code == 0
    material = shell.file("material", os.urandom(32))
    path = shell.folder / "a.kmse"
    assert shell("encrypt", "-", path, "-k", "local:own", stdin=b"data").code == 5
    done = shell("keys", "import-material", "own", material, "--valid-to", "2035-01-31T00:00:00+08:00")
    assert done.code == 0, done.err
    assert "copy" in done.err
    assert shell("encrypt", "-", path, "-k", "local:own", stdin=b"data").code == 0
    assert shell("keys", "delete-material", "own", "-q").code == 0
    assert shell("decrypt", path, "-", "-k", "local:own").code == 5
    other = shell.file("other", os.urandom(32))
    assert shell("keys", "import-material", "own", other).code == 6
    assert shell("keys", "import-material", "own", material, "-q").err == ""
    assert shell("decrypt", path, "-", "-k", "local:own").data == b"data"


@pytest.mark.parametrize("valid_to", ["tomorrow", "2035-01-31", "2001-01-01T00:00:00Z"])
def test_material_needs_an_end_in_the_future_with_a_zone(shell: Shell, valid_to: str) -> None:
    shell("keys", "create", "own", "--external")
    material = shell.file("material", os.urandom(32))
    assert shell("keys", "import-material", "own", material, "--valid-to", valid_to).code == 2
    assert shell("keys", "import-material", "own", shell.file("short", b"x" * 31)).code == 2
    assert shell("keys", "import-material", "demo", material).code == 2


def test_doctor_shows_state_and_no_secret(shell: Shell) -> None:
    secrets = {"TENCENTCLOUD_SECRET_ID": "AKIDsecretid", "TENCENTCLOUD_SECRET_KEY": "verysecretkey"}
    outcome = shell("doctor", **secrets, KMSENVELOPE_PASSPHRASE="")
    assert outcome.code == 0
    assert "AKIDsecretid" not in outcome.out
    assert "verysecretkey" not in outcome.out
    assert "TENCENTCLOUD_SECRET_ID" in outcome.out
    report = json.loads(shell("doctor", "--json").out)
    assert report["store state"] == "1 key"
    assert report["kmsenvelope"]
    assert any("in use" in value for name, value in report.items() if name.startswith("sm4"))


def test_doctor_calls_a_kms_only_when_asked(shell: Shell) -> None:
    assert json.loads(shell("doctor", "--json", "--kms", "local").out)["local"] == "answers, 1 key"
    outcome = shell(
        "doctor",
        "--json",
        "--kms",
        "tencent:ap-guangzhou",
        TENCENTCLOUD_SECRET_ID="AKIDsecretid",
        TENCENTCLOUD_SECRET_KEY="verysecretkey",
        KMSENVELOPE_ENDPOINT="ftp://nowhere",
    )
    assert outcome.code == 2
    assert "endpoint" in outcome.err
    assert shell("doctor", KMSENVELOPE_HOME=str(shell.folder / "none")).code == 0
    assert "none" not in shell.names()
