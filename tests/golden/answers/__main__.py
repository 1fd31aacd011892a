"""Write what clients get for the recorded answers: `python -m tests.golden.answers`."""

from tests.golden.answers.expected import ENGINES_RECORDED, dumps, expected_file, shown_answers

if __name__ == "__main__":
    for recorded in ENGINES_RECORDED:
        expected_file(recorded).write_text(dumps(shown_answers(recorded)))
