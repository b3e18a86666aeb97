"""JSON as TensorFlow Serving reads and writes it: with NaN and infinities, and its messages for what is malformed."""

import json
import re
from typing import Any

import numpy as np

from tfembed.serving.status import ServingError, invalid

MAX_DEPTH = 254  # a tensor has no more dimensions
_LONGEST_SHOWN = 4096
_SPACE = re.compile(r"[ \t\n\r]*")
_HUGE_EXPONENT = re.compile(r"[eE]\+?\d{3}|(?<!\d)\d{309}")
_STRING = r'"(?:[^"\\]++|\\.)*+"'  # it gives nothing back, so that a long one takes no memory
_SPELLINGS = re.compile(_STRING + "|-NaN|Inf(?!inity)")
_TOKENS = re.compile(_STRING + r"|[\[{\]}]")
_ESCAPES = re.compile(r"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F])|.)")
_MESSAGES = {
    "Expecting value": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
_PLAIN = json.JSONDecoder()


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse the JSON object that a body begins with; what comes after it is ignored.

    Raises:
        ServingError: If there is none, or it is nested too deeply.

    Example:
        >>> parse_object(b'{"instances": [1, NaN]} and more')
        {'instances': [1, nan]}
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    start = _SPACE.match(text).end()  # type: ignore[union-attr]
    if start == len(text):
        raise _parse_error("The document is empty.", start)
    if "Inf" in text or "-NaN" in text:  # which TensorFlow Serving reads too, and Python does not
        text = _SPELLINGS.sub(lambda found: {"Inf": "Infinity", "-NaN": "NaN"}.get(found[0], found[0]), text)
    huge = _HUGE_EXPONENT.search(text)
    decoder = json.JSONDecoder(parse_float=_finite, parse_int=_whole) if huge else _PLAIN
    try:
        value, end = decoder.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _parse_error(_explain(text, error), error.pos) from error
    except OverflowError as error:
        raise _parse_error("Number too big to be stored in double.", start) from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # Python refuses integers of thousands of digits
        raise _parse_error("Number too big to be stored in double.", start) from error
    _check_surrogates(text, start, end)
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {show(value)} Is not object")
    return value


def check_name(name: str) -> str:
    """A name out of JSON, which protos can hold only as UTF-8.

    Raises:
        ServingError: If it is none.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise invalid("JSON Parse error: Invalid encoding in string.")
    return name


def show(value: Any) -> str:
    """A JSON value as it appears in messages; a large one is cut off."""
    if isinstance(value, float):
        return decimals(np.array([value]))[0]
    try:
        text = json.dumps(value, indent=4, ensure_ascii=False)
        return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + " ..."
    except RecursionError as error:
        raise _too_deep() from error


def kind_of(value: Any) -> str:
    """What messages call the type of a JSON value.

    Example:
        >>> kind_of(True), kind_of([]), kind_of(1)
        ('True', 'Array', 'Number')
    """
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def decimals(values: np.ndarray) -> list[str]:
    """Floats as JSON: six digits where they are enough, all that it takes where not, and always a point or exponent.

    Args:
        values: Floats of any width, `(n,)`.

    Example:
        >>> decimals(np.array([4, 0.2, 9000000, 3e-5, np.nan, -np.inf, 555557.5], np.float32))
        ['4.0', '0.2', '9e+06', '3e-05', 'NaN', '-Infinity', '555557.5']
    """
    wide = values.dtype == np.float64
    exact = values if wide else values.astype(np.float32)
    numbers, texts = exact.tolist(), []
    for number in numbers:
        text = f"{number:g}"
        texts.append(text if "." in text or "e" in text else _NAMES.get(text) or text + ".0")
    finite = np.isfinite(exact)
    back = np.array([float(text) for text in texts]).astype(exact.dtype)
    for i in np.flatnonzero(finite & (back != exact)):
        text = f"{numbers[i]:.17g}" if wide else f"{numbers[i]:.9g}"
        texts[i] = text if "." in text or "e" in text else text + ".0"
    return texts


def quote(text: bytes | str) -> str:
    """A JSON string; bytes that are no UTF-8 pass through as surrogates, which `encode` turns back.

    Example:
        >>> quote("say \\"ä\\"")
        '"say \\\\"ä\\\\""'
    """
    plain = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    return json.dumps(plain, ensure_ascii=False)


def encode(text: str) -> bytes:
    """The bytes of JSON made of `quote`d strings."""
    return text.encode("utf-8", "surrogateescape")


def error_body(error: ServingError) -> bytes:
    """What a failed request is answered with.

    Example:
        >>> print(error_body(invalid("no")).decode())
        {
            "error": "no"
        }
    """
    return encode(f'{{\n    "error": {json.dumps(error.message, ensure_ascii=False)}\n}}')


_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise OverflowError(text)
    return value


def _whole(text: str) -> int:
    value = int(text)
    float(value)  # raises OverflowError where no double is as large
    return value


def _check_surrogates(text: str, start: int, end: int) -> None:
    """Python takes halves of surrogate pairs, which are no text and have no UTF-8."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    for escape in _ESCAPES.finditer(text, start, end):
        if escape[1]:
            raise _parse_error("The surrogate pair in string is invalid.", escape.start())


def _explain(text: str, error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Invalid \\escape"):
        return "Invalid escape character in string."
    if error.msg != "Expecting ',' delimiter":
        return _MESSAGES.get(error.msg, error.msg)
    if _inside_object(text[: error.pos]):
        return "Missing a comma or } after an object member."
    return "Missing a comma or ] after an array element."


def _inside_object(text: str) -> bool:
    opened: list[str] = []
    for found in _TOKENS.finditer(text):
        token = found[0]
        if token in "[{":
            opened.append(token)
        elif token in "]}" and opened:
            opened.pop()
    return bool(opened) and opened[-1] == "{"


def _parse_error(what: str, offset: int) -> ServingError:
    return invalid(f"JSON Parse error: {what} at offset: {offset}")


def _too_deep() -> ServingError:
    return invalid(f"JSON Parse error: Nested too deeply, more than {MAX_DEPTH} levels.")
