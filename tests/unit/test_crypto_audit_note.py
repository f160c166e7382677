"""Signed notes: the published example, and every change of one refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.crypto.audit.note import (
    Checkpoint,
    NoteBroken,
    PublicKey,
    Signer,
    digest,
    opened,
)

_SIGNER = Signer("audit.example/acme", b"s" * 32)
_TEXT = Checkpoint("audit.example/acme", 7, b"r" * 32, ("previous 00", "ranges 11")).text()
# The example of golang.org/x/mod/sumdb/note, which C2SP's signed-note took up.
_PETER = PublicKey.decoded("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
_PETERS = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo"
    "tpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_note_opens_with_its_key() -> None:
    assert opened(_PETERS, [_PETER]).startswith("If you think cryptography")
    assert PublicKey.decoded(_PETER.encoded()) == _PETER


def test_what_was_signed_opens_beside_signatures_of_others() -> None:
    stranger = Signer("stranger", b"t" * 32)
    note = _SIGNER.sign(_TEXT)
    both = note + stranger.sign(_TEXT).rpartition("\n\n")[2]
    assert opened(both, [_SIGNER.public]) == opened(both, [stranger.public]) == _TEXT
    with pytest.raises(NoteBroken, match="no known key"):
        opened(note, [stranger.public])


@given(st.data())
def test_no_byte_of_a_note_can_be_changed(data: st.DataObject) -> None:
    note = _SIGNER.sign(_TEXT)
    place = data.draw(st.integers(0, len(note) - 1))
    sign = data.draw(st.characters(codec="utf-8").filter(lambda each: each != note[place]))
    with pytest.raises(NoteBroken):
        opened(note[:place] + sign + note[place + 1 :], [_SIGNER.public])


@pytest.mark.parametrize(
    "note", ["", "\n\n", "text\n", "text\n\nname sig\n", "text\n\n— name AAAA"]
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteBroken):
        opened(note, [_SIGNER.public])


def test_a_key_by_the_same_name_is_not_the_same_key() -> None:
    forged = Signer(_SIGNER.public.name, b"f" * 32)
    with pytest.raises(NoteBroken):
        opened(forged.sign(_TEXT), [_SIGNER.public])


def test_a_checkpoint_reads_as_it_was_written() -> None:
    found = Checkpoint.parsed(_TEXT)
    assert found == Checkpoint("audit.example/acme", 7, b"r" * 32, ("previous 00", "ranges 11"))
    assert (found.value("ranges"), found.value("witness")) == ("11", "")


_ROOT = "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI="


@pytest.mark.parametrize(
    "text",
    [
        "origin\n7\n",
        f"origin\n07\n{_ROOT}\n",
        f"origin\n-7\n{_ROOT}\n",
        f"origin\n\N{ARABIC-INDIC DIGIT SEVEN}\n{_ROOT}\n",
        "origin\n7\ncnJy\n",
        "origin\n7\n!\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteBroken):
        Checkpoint.parsed(text)


def test_a_digest_is_of_the_text_and_not_of_the_signatures() -> None:
    other = Signer("other", b"o" * 32)
    assert digest(_SIGNER.sign(_TEXT)) == digest(other.sign(_TEXT))
    assert digest(_SIGNER.sign(_TEXT)) != digest(_SIGNER.sign(_TEXT + "more\n"))


@pytest.mark.parametrize("text", ["no line", "two\n\nparts\n"])
def test_only_lines_are_signed(text: str) -> None:
    with pytest.raises(ValueError, match="lines"):
        _SIGNER.sign(text)


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_signer_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="signer"):
        Signer(name, b"s" * 32)


@pytest.mark.parametrize(
    "text", ["", "name", "name+00000000+", "PeterNeumann+c74f20a4+ARpc2QcUPDhM", "n+0+%"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteBroken):
        PublicKey.decoded(text)
