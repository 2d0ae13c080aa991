"""URLs of object stores: what they may say, and by what one store is told from another."""

import pytest

from kernelckpt.errors import StorageUrlError
from kernelckpt.storage.objects.url import name_of, parse


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://[bucket/x", "cannot be read"),
        ("s3://bucket?endpoint", "endpoint does not match"),
        ("s3://bucket?endpoint=ftp://host", "endpoint does not match"),
        ("s3://bucket?endpoint=http://user:secret@host", "endpoint does not match"),
        ("s3://bucket?virtual_hosted=true", "virtual_hosted does not match 0|1"),
        ("s3://bucket?region=", "region does not match"),
        *(
            (f"gs://bucket?timeout={text}", "no number of seconds")
            for text in ("0", "-1", "inf", "nan", "1e9")
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_shown(url, said):
    with pytest.raises(StorageUrlError) as refusal:
        parse(url)
    assert said in str(refusal.value)
    assert "secret" not in f"{refusal.value} {refusal.value.hint}"


def test_two_stores_with_one_bucket_name_have_two_names():
    """A run can be copied from one to the other."""
    urls = (
        "s3://bucket/runs",
        "s3://bucket/runs?endpoint=http://one:9000",
        "s3://bucket/runs?endpoint=http://other:9000&region=x&timeout=3",
        "az://bucket/runs?account=one",
        "az://bucket/runs?account=other",
    )
    names = [name_of(*parse(url)) for url in urls]
    assert names == [url.partition("&")[0] for url in urls]
