"""No reader notices that files are laid again, nor that their old bytes go after the grace."""

from pathlib import Path

from tests.parquet.final_form_readers import run

FILES = 50


def test_queries_over_a_glob_are_right_while_its_files_are_laid_again(tmp_path: Path) -> None:
    outcome = run(tmp_path, FILES)
    print(outcome)
    assert outcome.wrong == []
