"""docs/clients.md is what the table says."""

from tests.clients.page import PAGE, families, page


def test_the_page_is_what_is_routed() -> None:
    """`make clients-page` writes it."""
    assert PAGE.read_text("utf-8") == page()


def test_every_family_says_how_to_start_in_a_few_lines() -> None:
    assert len(families()) >= 12
    for family in families():
        assert family.guide.key
        assert 1 <= family.guide.example.count("\n") + 1 <= 8
