import pytest
from cli_kit import make


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A storage with one run; also the default one."""
    monkeypatch.chdir(tmp_path)
    url = f"file:{tmp_path}/state"
    make(url)
    return url


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """The URL of a storage that is not there yet."""
    monkeypatch.chdir(tmp_path)
    return f"file:{tmp_path}/nothing"
