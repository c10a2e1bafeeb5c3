"""The fields in docs/json.md are those of the schemas."""

from tests.api.fields_page import PAGE, page


def test_the_page_is_what_the_schemas_say() -> None:
    """`make fields-page` writes it."""
    assert PAGE.read_text("utf-8") == page()
