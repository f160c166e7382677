"""One form of values that mean the same, so that their blind indexes are equal.

What cannot be put into its form is refused: a guess would index values that are never found.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from ipaddress import ip_address

from services.crypto.errors import ValueInvalid

_SEPARATORS = re.compile(r"[\s.-]+")
_DIGITS = re.compile(r"[0-9]+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,253}")
_SSN_DIGITS = 9
_CARD_DIGITS = range(12, 20)
_ACCOUNT_DIGITS = range(4, 18)


class Form(StrEnum):
    """What a field's values are."""

    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    SSN = "ssn"
    CARD = "card"
    ACCOUNT = "account"
    DATE = "date"
    IP = "ip"


def normalise(form: Form, field: str, value: str) -> str:
    """Put a value into its one form. Raises ValueInvalid."""
    text = unicodedata.normalize("NFKC", value).strip()
    normal = _RULES[form](text) if text else ""
    if not normal:
        raise ValueInvalid(field, f"is no {form.value}")
    return normal


def passes_luhn(digits: str) -> bool:
    """Check the last digit of a card's number (ISO/IEC 7812-1)."""
    doubled = (int(each) * 2 for each in digits[-2::-2])
    return (
        sum(map(int, digits[-1::-2])) + sum(each // 10 + each % 10 for each in doubled)
    ) % 10 == 0


def _text(text: str) -> str:
    return " ".join(text.casefold().split())


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        return ""
    local, _, domain = text.rpartition("@")
    try:
        host = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""
    return f"{local.casefold()}@{host}"


def _phone(text: str) -> str:
    compact = re.sub(r"[\s().-]+", "", text)
    return compact if _E164.fullmatch(compact) else ""


def _ssn(text: str) -> str:
    digits = _SEPARATORS.sub("", text)
    return digits if _DIGITS.fullmatch(digits) and len(digits) == _SSN_DIGITS else ""


def _card(text: str) -> str:
    digits = _SEPARATORS.sub("", text)
    good = _DIGITS.fullmatch(digits) and len(digits) in _CARD_DIGITS and passes_luhn(digits)
    return digits if good else ""


def _account(text: str) -> str:
    """A number of an account, or an IBAN (ISO 13616) whose check digits are right."""
    compact = _SEPARATORS.sub("", text).upper()
    if _DIGITS.fullmatch(compact):
        return compact if len(compact) in _ACCOUNT_DIGITS else ""
    if not _IBAN.fullmatch(compact):
        return ""
    number = "".join(str(int(each, 36)) for each in compact[4:] + compact[:4])
    return compact if int(number) % 97 == 1 else ""


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


_RULES: dict[Form, Callable[[str], str]] = {
    Form.TEXT: _text,
    Form.EMAIL: _email,
    Form.PHONE: _phone,
    Form.SSN: _ssn,
    Form.CARD: _card,
    Form.ACCOUNT: _account,
    Form.DATE: _date,
    Form.IP: _ip,
}
