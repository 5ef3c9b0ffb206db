"""Questions about the service itself: algorithms, status, regions."""

from __future__ import annotations

from typing import Any

from .asymmetric import DECRYPTION_ALGORITHMS, SIGNATURE_ALGORITHMS, is_offered
from .call import Call
from .records import ENCRYPT_DECRYPT, PENDING_DELETE, DataKey, Key

REGIONS = ("ap-guangzhou", "ap-shanghai", "ap-hongkong", "ap-taipei", "ap-jakarta")
"""The regions of the documented example of GetRegions."""


def list_algorithms(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """What keys the region offers (API: ListAlgorithms)."""
    symmetric = "SM4" if call.policy.is_sm(call.region) else "AES_256"
    return {
        "SymmetricAlgorithms": [{"KeyUsage": ENCRYPT_DECRYPT, "Algorithm": symmetric}],
        "AsymmetricAlgorithms": _offered(call, DECRYPTION_ALGORITHMS),
        "AsymmetricSignVerifyAlgorithms": _offered(call, SIGNATURE_ALGORITHMS),
    }


def _offered(call: Call, algorithms: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"KeyUsage": usage, "Algorithm": name}
        for usage, name in algorithms.items()
        if is_offered(call, usage)
    ]


def service_status(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """A service that is bought and on, with its limits and their use (API: GetServiceStatus)."""
    return {
        "ServiceEnabled": True,
        "InvalidType": 1,
        "UserLevel": 0,
        "ProExpireTime": 0,
        "ProRenewFlag": 0,
        "ProResourceId": "",
        "ExclusiveVSMEnabled": False,
        "ExclusiveHSMEnabled": False,
        "SubscriptionInfo": "",
        "CmkUserCount": sum(key.state != PENDING_DELETE for key in call.tx.all(Key, call.region)),
        "CmkLimit": call.policy.cmk_limit,
        "IsAllowedDataKeyHosted": call.policy.data_key_limit > 0,
        "DataKeyLimit": call.policy.data_key_limit,
        "DataKeyUsedCount": len(call.tx.all(DataKey, call.region)),
        "IsAllowedSync": False,
    }


def regions(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Where the service is (API: GetRegions)."""
    return {"Regions": list(REGIONS)}
