"""The little of ASN.1 DER that SM2 needs: written and read strictly (X.690, section 10 and 11)."""

from __future__ import annotations

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30


def tlv(tag: int, content: bytes) -> bytes:
    """One element: tag, definite length, content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*elements: bytes) -> bytes:
    """SEQUENCE of elements that are encoded already."""
    return tlv(SEQUENCE, b"".join(elements))


def integer(value: int) -> bytes:
    """INTEGER, of a value that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


class Reader:
    """Reads elements one after the other. Every method raises ``ValueError`` for what DER does not allow."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def next_tag(self) -> int | None:
        """The tag of the next element, ``None`` at the end."""
        return self._data[0] if self._data else None

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag."""
        data = self._data
        if len(data) < 2 or data[0] != tag:
            raise ValueError(f"not DER: no element with tag 0x{tag:02x} where one must be")
        size, start = data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
            if not 3 <= start <= 6 or size < 0x80 or data[2] == 0:
                raise ValueError("not DER: a length that is not in its shortest form")
        if len(data) < start + size:
            raise ValueError("not DER: the data ends inside an element")
        self._data = data[start + size :]
        return data[start : start + size]

    def sequence(self) -> Reader:
        """A reader of the elements inside the next SEQUENCE."""
        return Reader(self.take(SEQUENCE))

    def integer(self) -> int:
        """The next INTEGER, which must not be negative."""
        content = self.take(INTEGER)
        if not content or content[0] & 0x80:
            raise ValueError("not DER: an INTEGER that is empty or negative")
        if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
            raise ValueError("not DER: an INTEGER that is not in its shortest form")
        return int.from_bytes(content, "big")

    def bits(self) -> bytes:
        """The next BIT STRING, which must be of whole bytes."""
        content = self.take(BIT_STRING)
        if not content or content[0] != 0:
            raise ValueError("not DER: a BIT STRING that is not of whole bytes")
        return content[1:]

    def end(self) -> None:
        """Raise ``ValueError`` unless everything has been read."""
        if self._data:
            raise ValueError("not DER: data after the end")
