"""The sandbox policy: names that speak of the network, and paths inside of folders."""

import pytest
from governance_kit import governed, judge, verdict

from kernelckpt.kernel.governance.sandbox_policy import PATH_ARGUMENTS, WRITE_WORDS
from kernelckpt.model.governance import Allow, SandboxProfile


def is_denied(profile, tool, arguments=None):
    stage = judge(governed(sandbox=profile), tool, arguments).stage
    assert stage in {None, "sandbox_policy"}
    return stage is not None


def reads(path, *folders):
    return not is_denied(SandboxProfile(allow_fs_read=folders), "look", {"path": path})


def test_no_profile_denies_nothing():
    assert verdict(governed(), "http_write", {"path": "/etc/passwd"}) == Allow()


@pytest.mark.parametrize(
    "tool", ["netcat", "HTTP_get", "fetch_page", "Download", "curl", "send_request", "open_url", "planet"]
)
def test_names_that_speak_of_the_network(tool):
    assert is_denied(SandboxProfile(allow_network=False), tool)
    assert not is_denied(SandboxProfile(), tool)


def test_other_names_do_not():
    assert not is_denied(SandboxProfile(allow_network=False), "search")


@pytest.mark.parametrize("key", PATH_ARGUMENTS)
def test_every_path_argument_is_looked_at(key):
    profile = SandboxProfile(allow_fs_read=("/data",))
    assert is_denied(profile, "look", {key: "/etc/x"})
    assert not is_denied(profile, "look", {key: "/data/x"})


def test_one_path_outside_is_enough():
    profile = SandboxProfile(allow_fs_read=("/data",))
    assert is_denied(profile, "look", {"src": "/data/x", "dest": "/etc/x"})


@pytest.mark.parametrize(
    "arguments", [{"path": 3}, {"path": None}, {"text": "/etc"}, {"Path": "/etc"}, ["/etc"]]
)
def test_other_arguments_are_not(arguments):
    assert not is_denied(SandboxProfile(), "look", arguments)


def test_an_empty_list_denies_every_path():
    assert is_denied(SandboxProfile(allow_fs_write=("/",)), "look", {"path": "/data"})
    assert is_denied(SandboxProfile(allow_fs_read=("/",)), "write", {"path": "/data"})


@pytest.mark.parametrize("word", WRITE_WORDS)
def test_names_that_write_are_held_to_the_folders_for_writing(word):
    profile = SandboxProfile(allow_fs_read=("/in",), allow_fs_write=("/out",))
    tool = f"Do_{word.upper()}_it"
    assert is_denied(profile, tool, {"path": "/in/x"})
    assert not is_denied(profile, tool, {"path": "/out/x"})
    assert is_denied(profile, "look", {"path": "/out/x"})


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/data", "/data", True),
        ("/data/", "/data", True),
        ("/data/a/b", "/data", True),
        ("/data/a", "/data/", True),
        ("/database", "/data", False),
        ("/dat", "/data", False),
        ("/", "/data", False),
        ("/anything", "/", True),
        ("data/a", "/data", False),
        ("/data/a", "data", False),
        ("data/a", "data", True),
        ("./data/a", "data", True),
        ("data/a", "./data", True),
        ("a", ".", True),
        ("/a", ".", False),
        ("../a", ".", False),
        ("", ".", True),
        ("", "/data", False),
        ("//data//a", "/data", True),
        ("/Data/a", "/data", False),
        ("/daten/größe", "/daten", True),
    ],
)
def test_a_folder_allows_by_whole_parts(path, folder, inside):
    assert reads(path, folder) is inside


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/data/../etc/passwd", "/data", False),
        ("/data/./../etc", "/data", False),
        ("/data/a/../b", "/data", True),
        ("/etc/../data/a", "/data", True),
        ("/../../data/a", "/data", True),
        ("data/../../data/a", "data", False),
        ("../shared/a", "../shared", True),
        ("../shared/../a", "../shared", False),
        ("../../a", "..", False),
        ("../a", "..", True),
        ("/data/..hidden", "/data", True),
        ("/data/a\\b", "/data", True),
        ("/data/..\\..\\etc", "/data", False),
        ("/etc/..\\data/a", "/data", False),
        ("C:\\data\\a", "C:\\data", True),
        ("C:\\database", "C:\\data", False),
        ("C:/data/../etc", "C:/data", False),
        ("C:/etc", ".", False),
        ("D:/data", "C:/data", False),
    ],
)
def test_dots_do_not_lead_out_of_a_folder(path, folder, inside):
    assert reads(path, folder) is inside


def test_any_folder_of_the_list_will_do():
    assert reads("/b/x", "/a", "/b")
    assert not reads("/c/x", "/a", "/b")
