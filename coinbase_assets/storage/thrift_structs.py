"""Reads structs of Thrift's compact protocol: the footers and page headers of Parquet files.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

_LONGEST_NUMBER = 10
_LONGEST_LIST = 10_000
_DEEPEST = 16


class InvalidStruct(ValueError):
    """The bytes are not a struct, or it is longer or deeper than any that is expected."""


def read_struct(content: bytes, start: int) -> tuple[dict[int, Any], int]:
    """Return the values of the struct at a byte, by field number, and where it ends.

    A value is a number, a truth value, a list or a struct; those of other types are None.
    Raises InvalidStruct.
    """
    reader = _Reader(content, start)
    try:
        return reader.struct(), reader.place
    except IndexError as error:
        raise InvalidStruct(f"the struct at byte {start} has no end") from error


class _Reader:
    def __init__(self, content: bytes, place: int) -> None:
        if place < 0:
            raise InvalidStruct("a struct begins before the file")
        self._content = content
        self.place = place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        fields, number = dict[int, Any](), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise InvalidStruct(f"the struct at byte {self.place} is nested too deeply")
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7 | 13:
                return self._skip(8 if kind == 7 else 16)
            case 8:
                return self._skip(self._unsigned())
            case 9 | 10:
                return self._list(depth)
            case 12:
                return self.struct(depth)
        raise InvalidStruct(f"byte {self.place} has the unknown type {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 < 15 else self._unsigned()
        if length > _LONGEST_LIST:
            raise InvalidStruct(f"the list at byte {self.place} has {length} entries")
        return [self._value(head & 15, depth + 1) for _ in range(length)]

    def _number(self) -> int:
        unsigned = self._unsigned()
        return (unsigned >> 1) ^ -(unsigned & 1)

    def _unsigned(self) -> int:
        number = 0
        for index in range(_LONGEST_NUMBER):
            byte = self._byte()
            number |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return number
        raise InvalidStruct(f"the number before byte {self.place} has no end")

    def _byte(self) -> int:
        self.place += 1
        return self._content[self.place - 1]

    def _skip(self, length: int) -> None:
        self.place += length
