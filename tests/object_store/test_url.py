"""What `path` may be when it is none of a directory."""

import pytest

from app.object_store.url import Provider, StoreUrl, is_url, parse_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://lake", StoreUrl(Provider.S3, "lake")),
        ("s3://lake/", StoreUrl(Provider.S3, "lake")),
        ("gs://lake/cold/events", StoreUrl(Provider.GOOGLE, "lake", "cold/events")),
        ("az://lake/cold/", StoreUrl(Provider.AZURE, "lake", "cold")),
        (" s3://my.lake_2-b/a.b-c_d=1 ", StoreUrl(Provider.S3, "my.lake_2-b", "a.b-c_d=1")),
    ],
)
def test_a_url_names_provider_bucket_and_prefix(text: str, url: StoreUrl) -> None:
    assert is_url(text)
    assert parse_url(text) == url
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///prefix", "ftp://host/path", "http://host/bucket", "S3://lake"),
        *("s3://lake//x", "s3://lake/a//b", "s3://lake/../other", "s3://lake/./x"),
        *("s3://lake/a b", "s3://lake/a?b", "s3://lake/a\nb"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    assert is_url(text)
    with pytest.raises(ValueError, match=r"s3://|prefix may contain letters"):
        parse_url(text)


@pytest.mark.parametrize("text", ["parquet/", "/var/lib/s3:/x", "C:\\files", "s3:/bucket"])
def test_a_directory_is_no_url(text: str) -> None:
    assert not is_url(text)
