"""Client-side envelope encryption with Tencent Cloud KMS.

client = EnvelopeClient(TencentKms("ap-guangzhou").key("<key id>"))
blob = client.encrypt(b"...", context={"tenant": "42"})
"""

from .client import EnvelopeClient
from .datakeys import CacheEvent, CachePolicy
from .errors import (
    AuthenticationError,
    ContextMismatch,
    EnvelopeError,
    FormatError,
    KeyUnavailable,
    KmsAccessDenied,
    KmsError,
    KmsThrottled,
    KmsUnavailable,
    NoUsableKey,
    RecipientSkipped,
    TruncatedError,
)
from .header import Header, Recipient
from .kms.local import LocalKms
from .kms.masterkey import MasterKey
from .kms.private import PrivateKey
from .kms.public import PublicKey
from .kms.retry import Retry
from .kms.service import Kms
from .kms.tencent import TencentKms
from .rewrapfile import RewrapResult
from .shortcuts import connect, decrypt_file, encrypt_file, inspect
from .streams import DecryptingReader, EncryptingWriter
from .suites import Suite

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
    "CacheEvent",
    "CachePolicy",
    "ContextMismatch",
    "DecryptingReader",
    "EncryptingWriter",
    "EnvelopeClient",
    "EnvelopeError",
    "FormatError",
    "Header",
    "KeyUnavailable",
    "Kms",
    "KmsAccessDenied",
    "KmsError",
    "KmsThrottled",
    "KmsUnavailable",
    "LocalKms",
    "MasterKey",
    "NoUsableKey",
    "PrivateKey",
    "PublicKey",
    "Recipient",
    "RecipientSkipped",
    "Retry",
    "RewrapResult",
    "Suite",
    "TencentKms",
    "TruncatedError",
    "connect",
    "decrypt_file",
    "encrypt_file",
    "inspect",
]
