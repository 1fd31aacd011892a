"""The recorded transcripts are whole, can be replayed, and say nothing about who recorded them."""

import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.raw_http import ask
from tests.support.transcripts import TRANSCRIPTS, Transcript

FILES = sorted(TRANSCRIPTS.glob("*/*.json"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def replay_once(wire: bytes) -> str:
    """The address of a server that reads one request and gives this answer to it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with closing(listener), closing(listener.accept()[0]) as connection:
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            lengths = [
                int(line[15:])
                for line in head.split(b"\r\n")
                if line.startswith(b"content-length:")
            ]
            missing = sum(lengths) - len(body)
            while missing > 0:
                missing -= len(connection.recv(65536))
            connection.sendall(wire)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_there_are_transcripts_of_both_engines() -> None:
    assert {path.parent.name for path in FILES} == {"vllm-0.32.0", "llamacpp"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_transcript_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    Transcript.load(path).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()


@pytest.mark.integration
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_replayed_answer_reads_like_the_recorded_one(path: Path) -> None:
    transcript = Transcript.load(path)
    answered = ask(replay_once(transcript.answered.wire()), transcript.asked, patience_s=5)
    if not transcript.answered.status_line:
        assert answered.ending == "no-answer"
        return
    assert answered.status_line == transcript.answered.status_line
    assert answered.headers == transcript.answered.headers
    assert answered.body == transcript.answered.body
    assert (answered.ending == "complete") == (transcript.answered.ending == "complete")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_complete_body_has_its_stated_length(path: Path) -> None:
    answered = Transcript.load(path).answered
    if answered.ending == "complete" and (length := answered.header("content-length")):
        assert len(answered.body) == int(length)
