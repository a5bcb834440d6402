"""Uploaded archives: kept as datasets, or refused with a reason and nothing left on disk."""

from __future__ import annotations

import os
import pickle
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.datasets import (
    Imported,
    ImportRequest,
    archives,
    dataset_problem,
    dataset_spec,
    folders,
    import_archive,
    load_dataset,
    needs_look,
    own_datasets,
    remove_dataset,
)
from analysis.errors import AssetError, OptionError
from analysis.progress import Progress
from analysis.worker import ANSWERS
from tests.analysis.datasets.picture_files import class_folders, jpeg_bytes, level_of, png_bytes

pytestmark = pytest.mark.usefixtures("home")

PETS = {f"pets/{name}/{k}.png": png_bytes(10 * n + k) for n, name in enumerate(("cat", "dog"))
        for k in range(5)}  # fmt: skip


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def left(home: Path) -> list[Path]:
    """Every file and folder under the home folder, but for empty ones to hold others."""
    return [p for p in home.rglob("*") if p.parent != home]


def refusal(path: Path, home: Path) -> str:
    """What is said of an archive that must be refused and leave nothing."""
    before = path.read_bytes()
    with pytest.raises(AssetError) as error:
        import_archive(path, "upload.zip")
    assert path.read_bytes() == before
    assert left(home) == []
    assert own_datasets() == []
    message = str(error.value)
    assert message.startswith("upload.zip was refused: ")
    assert message.endswith(". Nothing was kept.")
    return message.removeprefix("upload.zip was refused: ").removesuffix(". Nothing was kept.")


def test_an_archive_of_class_folders_becomes_a_dataset(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    reports: list[Progress] = []
    imported = import_archive(path, "My Pets (1).zip", progress=reports.append)
    assert own_datasets() == [imported.dataset]
    assert imported.dataset.startswith("own:my-pets-1-")
    assert (imported.images, imported.classes, imported.skipped) == (10, 2, ())
    assert {p.stage for p in reports} == {"Unpack", "Check the images"}
    spec = dataset_spec(imported.dataset)
    assert spec.class_names == ("cat", "dog")
    assert (spec.title, spec.why_untrainable) == ("my-pets-1", "")
    data = load_dataset(imported.dataset)
    assert [level_of(image) for image in data.images] == [
        10 * label + k % 5 for label, k in zip(data.labels, data.indices, strict=True)
    ]


def test_images_alone_have_no_labels_and_one_folder_around_them_is_peeled_off(
    tmp_path: Path,
) -> None:
    flat = {f"{k}.png": png_bytes(k) for k in range(4)}
    around = {f"photos/{name}": content for name, content in flat.items()}
    deep = {f"data/photos/{name}": content for name, content in flat.items()}
    for number, (files, classes) in enumerate(((flat, 0), (around, 0), (deep, 1))):
        imported = import_archive(zipped(tmp_path / f"{number}.zip", files), f"{number}.zip")
        assert (imported.images, imported.classes) == (4, classes)


def test_litter_is_ignored_and_other_files_are_named(tmp_path: Path, home: Path) -> None:
    litter = {
        "__MACOSX/pets/cat/._0.png": b"x",
        "pets/.DS_Store": b"x",
        "pets/cat/Thumbs.db": b"x",
        "pets/cat/.hidden.png": b"x",
    }
    files = PETS | litter | {"pets/readme.txt": b"hello", "pets/cat/cut.jpg": jpeg_bytes()[:-2000]}
    imported = import_archive(zipped(tmp_path / "a.zip", files), "a.zip")
    assert imported.images == 10
    assert imported.skipped == (
        ("cat/cut.jpg", "it is damaged or cut short"),
        ("pets/readme.txt", "it is not an image"),
    )
    written = [p.name for p in (home / "datasets").rglob("*") if p.is_file()]
    assert sorted(written) == sorted([f"{k}.png" for k in range(5)] * 2 + ["cut.jpg"])


def test_names_of_any_script(tmp_path: Path) -> None:
    files = {f"кошки/{k}.PNG": png_bytes(k) for k in range(4)}
    files |= {f"犬/{k}.Png": png_bytes(k) for k in range(4)}
    imported = import_archive(zipped(tmp_path / "a.zip", files), "Мои звери.zip")
    assert imported.dataset.startswith("own:мои-звери-")
    assert dataset_spec(imported.dataset).class_names == ("кошки", "犬")
    assert import_archive(
        zipped(tmp_path / "b.zip", {"a.png": png_bytes()}), "../…!.zip"
    ).dataset.startswith("own:images-")


def test_the_same_archive_again_is_the_same_dataset(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS | {"pets/readme.txt": b"hello"})
    first = import_archive(path, "a.zip")
    assert first.skipped
    print_before = dataset_spec(first.dataset).fingerprint()
    assert import_archive(path, "another name.zip") == first
    assert own_datasets() == [first.dataset]
    remove_dataset(first.dataset)
    assert import_archive(path, "a.zip") == first
    assert dataset_spec(first.dataset).fingerprint() == print_before


def test_other_content_of_the_same_names_and_sizes_is_another_dataset(tmp_path: Path) -> None:
    one, two = (
        import_archive(zipped(tmp_path / f"{k}.zip", {"a.bmp": bitmap(k)}), "a.zip").dataset
        for k in (1, 2)
    )
    assert one != two
    assert dataset_spec(one).fingerprint() != dataset_spec(two).fingerprint()


def bitmap(level: int) -> bytes:
    header = b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0
    )
    return header + bytes([level] * 3) + b"\0"


def test_uploads_are_listed_newest_first_and_removed(tmp_path: Path, home: Path) -> None:
    names = []
    for k in range(3):
        imported = import_archive(
            zipped(tmp_path / f"{k}.zip", {"a.png": png_bytes(k)}), f"{k}.zip"
        )
        names.append(imported.dataset)
        os.utime(home / "datasets" / imported.dataset.removeprefix("own:"), (k, k))
    assert own_datasets() == names[::-1]
    remove_dataset(names[1])
    assert own_datasets() == [names[2], names[0]]
    assert "there is no upload" in dataset_problem(names[1])[0]
    assert len(list((home / "folders").iterdir())) == 2
    assert len(list((home / "datasets").iterdir())) == 2


@pytest.mark.parametrize("name", ["own:none-12", "own:..", "own:", "folder:/tmp", "digits"])
def test_only_uploads_can_be_removed(name: str, home: Path) -> None:
    home.mkdir()
    with pytest.raises(OptionError, match="`dataset`"):
        remove_dataset(name)
    assert home.is_dir()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../out.png", "its name leads out of the dataset's folder"),
        ("a/../../out.png", "its name leads out of the dataset's folder"),
        ("/tmp/out.png", "its name is an absolute path"),
        ("C:/out.png", "its name is an absolute path"),
        ("c:out.png", "its name is an absolute path"),
        ("a/C:/out.png", "its name is an absolute path"),
        ("x/C:evil.png", "its name is an absolute path"),
        ("..\\out.png", "its name contains a backslash"),
        ("a\nb.png", "its name contains control characters"),
        ("a\0.png", "its name contains control characters"),
        (f"{'a' * 256}.png", "its name is too long"),
        ("a/" * 600 + "a.png", "its name is too long"),
    ],
)
def test_a_name_that_escapes_is_refused(name: str, reason: str, tmp_path: Path, home: Path) -> None:
    # zipfile cuts a name at its NUL when writing, so the name is put in afterwards.
    stand_in = "N" * len(name.encode())
    path = zipped(tmp_path / "a.zip", PETS | {stand_in: png_bytes()})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), name.encode()))
    message = refusal(path, home)
    assert reason in message
    assert name.rstrip() in message
    assert not (tmp_path / "out.png").exists()


def test_the_name_to_write_to_is_checked_too(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python takes it from an extra field, it differs from the name in the directory."""
    listed = zipfile.ZipFile.infolist

    def renamed(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        infos = listed(archive)
        infos[3].filename = str(tmp_path / "out.png")
        return infos

    monkeypatch.setattr(zipfile.ZipFile, "infolist", renamed)
    message = refusal(zipped(tmp_path / "a.zip", PETS), home)
    assert message.startswith("“pets/cat/3.png”: its name is an absolute path")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK | 0o777, "it is a link"),
        (stat.S_IFIFO | 0o666, "it is a special file"),
        (stat.S_IFCHR | 0o666, "it is a special file"),
        (stat.S_IFSOCK | 0o666, "it is a special file"),
    ],
)
def test_links_and_special_files_are_refused(
    mode: int, reason: str, tmp_path: Path, home: Path
) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("pets/cat/odd.png")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    assert refusal(path, home) == f"“pets/cat/odd.png”: {reason}"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a/1.png", "a/1.png"), "“a/1.png”: it appears twice"),
        (("a/1.png", "a//1.png"), "“a//1.png”: it appears twice"),
        (("é.png", "é.png"), "“é.png”: it appears twice"),  # composed, and not
        (("a.png", "a.png/b.png"), "“a.png”: it is both a file and a folder"),
    ],
)
def test_duplicated_names_are_refused(
    names: tuple[str, str], reason: str, tmp_path: Path, home: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, png_bytes())
    assert refusal(tmp_path / "a.zip", home) == reason


def changed(path: Path, name: str, offset: int, value: bytes, *, both: bool = True) -> Path:
    """Overwrite a field of an entry's record in the directory, and in its own header too."""
    data = bytearray(path.read_bytes())
    record = data.rindex(name.encode()) - 46
    assert data[record : record + 4] == b"PK\x01\x02"
    data[record + offset : record + offset + len(value)] = value
    header = data.index(name.encode()) - 30
    assert data[header : header + 4] == b"PK\x03\x04"
    if both:  # the same fields come two bytes earlier there
        data[header + offset - 2 : header + offset - 2 + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2000])
def test_encrypted_entries_are_refused(flag: int, tmp_path: Path, home: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    changed(path, "pets/dog/3.png", 8, struct.pack("<H", flag))
    assert refusal(path, home) == (
        "“pets/dog/3.png”: it is encrypted; create the archive without a password"
    )


@pytest.mark.parametrize("inner", ["more.zip", "more.TAR", "more.tar.gz", "more.7z", "more.rar"])
def test_archives_in_the_archive_are_refused(inner: str, tmp_path: Path, home: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS | {f"pets/{inner}": b"PK"})
    assert refusal(path, home) == (
        f"“pets/{inner}”: it is an archive inside the archive; unpack it first"
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method: int, tmp_path: Path, home: Path) -> None:
    message = refusal(zipped(tmp_path / "a.zip", PETS, method), home)
    assert message.startswith("“pets/cat/0.png”: its compression method is not supported")


def test_an_unknown_way_of_packing_is_refused(tmp_path: Path, home: Path) -> None:
    path = changed(zipped(tmp_path / "a.zip", PETS), "pets/dog/3.png", 10, struct.pack("<H", 97))
    assert refusal(path, home).startswith(
        "“pets/dog/3.png”: its compression method is not supported"
    )


def cut_short(data: bytes) -> bytes:
    return data[:-40]


def cut_in_front(data: bytes) -> bytes:
    return data[-120:]


@pytest.mark.parametrize(
    "spoil",
    [
        cut_short,
        cut_in_front,
        lambda data: b"",
        lambda data: b"no archive at all",
        lambda data: png_bytes(),
        lambda data: data[:-6] + struct.pack("<I", 2**31) + data[-2:],
    ],
)
def test_a_file_that_is_not_a_zip_is_refused(
    spoil: Callable[[bytes], bytes], tmp_path: Path, home: Path
) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    path.write_bytes(spoil(path.read_bytes()))
    assert refusal(path, home) == "it is not a zip archive, or is damaged"


def test_random_damage_never_shows_a_traceback(tmp_path: Path, home: Path) -> None:
    whole = zipped(tmp_path / "a.zip", PETS).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(100):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        path = tmp_path / f"{k}.zip"
        path.write_bytes(data)
        try:
            imported = import_archive(path, "a.zip")
        except AssetError:
            refused += 1
        else:
            remove_dataset(imported.dataset)
        assert left(home) == []
    assert refused > 30


def test_a_bomb_of_one_file_is_refused(tmp_path: Path, home: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS | {"pets/cat/bomb.bmp": b"\0" * (20 * 2**20)})
    assert path.stat().st_size < 100_000
    assert refusal(path, home) == (
        "“pets/cat/bomb.bmp”: it unpacks to more than 200 times its size, which no image does"
    )


def test_a_drawing_may_pack_well(tmp_path: Path) -> None:
    imported = import_archive(zipped(tmp_path / "a.zip", {"a.bmp": drawing()}), "a.zip")
    assert imported.images == 1


def drawing() -> bytes:
    """A white bitmap of 1000 × 1000 pixels."""
    size = 3_000_000
    fields = (54 + size, 0, 0, 54, 40, 1000, 1000, 1, 24, 0, size, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", *fields) + b"\xff" * size


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_FILES", 9, "it has 10 entries, and the limit is 9"),
        ("MAX_BYTES", 2**9, r"it unpacks to 0.0 GiB, and the limit is"),
        ("MAX_FILE_BYTES", 2**5, "“pets/cat/0.png”: it unpacks to 0 MiB, and the limit is"),
    ],
)
def test_limits_are_kept(
    limit: str,
    value: int,
    reason: str,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, limit, value)
    assert refusal(zipped(tmp_path / "a.zip", PETS), home).startswith(reason)


def test_a_file_with_a_large_stated_size_is_refused_unread(tmp_path: Path, home: Path) -> None:
    path = changed(
        zipped(tmp_path / "a.zip", PETS), "pets/dog/4.png", 24, struct.pack("<I", 2**32 - 2)
    )
    assert refusal(path, home).startswith("“pets/dog/4.png”: it unpacks to 4,096 MiB")


def lying_zip(path: Path, content: bytes, claimed: int, checksum: int) -> Path:
    """An archive whose directory and header say another size and checksum than is packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush()
    name = b"a.png"
    fields = (0, 8, 0, 33, checksum, len(packed), claimed, len(name), 0)
    header = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, *fields) + name + packed
    record = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, *fields, 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(record), len(header), 0)
    path.write_bytes(header + record + b"PK\x05\x06" + end)
    return path


def test_lying_zip_can_be_honest(tmp_path: Path) -> None:
    content = png_bytes()
    path = lying_zip(tmp_path / "a.zip", content, len(content), zlib.crc32(content))
    assert import_archive(path, "a.zip").images == 1


def test_a_name_that_is_not_text_is_refused(tmp_path: Path, home: Path) -> None:
    """The header of a file says UTF-8, and the directory, which is read first, does not."""
    path = zipped(tmp_path / "a.zip", {"a.png": png_bytes()})
    data = bytearray(path.read_bytes())
    data[7] |= 0x08  # bit 11 of the flags
    data[30] = 0xFF  # the name's first byte
    path.write_bytes(data)
    assert refusal(path, home) == "“a.png”: it is damaged, or not what the archive says"


@pytest.mark.parametrize("claimed", [100, 2**20 - 1, 2**20 + 1])
def test_a_header_with_a_false_size_is_refused(claimed: int, tmp_path: Path, home: Path) -> None:
    content = png_bytes() + b"\0" * (2**20 - len(png_bytes()))
    path = lying_zip(tmp_path / "a.zip", content, claimed, zlib.crc32(content))
    assert refusal(path, home) == "“a.png”: it is damaged, or not what the archive says"


def test_no_more_comes_out_than_was_claimed(tmp_path: Path, home: Path) -> None:
    whole = png_bytes()
    content = whole + b"\0" * (2**24 - len(whole))  # 16 MiB, whose checksum is also a lie
    path = lying_zip(tmp_path / "a.zip", content, len(whole), zlib.crc32(whole))
    import_archive(path, "a.zip")
    (written,) = (p for p in (home / "datasets").rglob("*") if p.is_file())
    assert written.read_bytes() == whole


def test_a_wrong_checksum_is_refused(tmp_path: Path, home: Path) -> None:
    path = changed(zipped(tmp_path / "a.zip", PETS), "pets/dog/4.png", 16, b"\1\2\3\4")
    assert refusal(path, home).startswith("“pets/dog/4.png”: it is damaged")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it contains no image"),
        ({"a.txt": b"x"}, "it contains no image"),
        ({"a.png": b""}, "no image can be read: a.png (it is empty)"),
    ],
)
def test_an_archive_without_images_is_refused(
    files: dict[str, bytes], reason: str, tmp_path: Path, home: Path
) -> None:
    assert refusal(zipped(tmp_path / "a.zip", files), home) == reason


def test_without_room_on_the_disk_nothing_is_left(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    real = archives.shutil.disk_usage
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda p: real(p)._replace(free=10))
    with pytest.raises(
        AssetError, match=r"a.zip could not be unpacked .*No space left.*free some space"
    ):
        import_archive(path, "a.zip")
    assert left(home) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, home: Path) -> None:
    files = {"a.png": png_bytes(), "b.png": np.random.default_rng(0).bytes(50_000)}
    path = zipped(tmp_path / "a.zip", files)
    program = (  # no file may grow beyond 10 kB, as on a disk that fills up
        "import resource, sys; from pathlib import Path; from analysis.datasets import *;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000));"
        f"import_archive(Path({str(path)!r}), 'a.zip')"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "AssetError: a.zip could not be unpacked into" in result.stderr
    assert "File too large" in result.stderr
    assert left(home) == []


def test_a_killed_import_is_not_listed_and_cleaned_up_later(tmp_path: Path, home: Path) -> None:
    images = {f"{k}.png": png_bytes(k % 250) for k in range(1500)}
    path = zipped(tmp_path / "a.zip", images, zipfile.ZIP_STORED)
    program = (
        "from pathlib import Path; from analysis.datasets import *; path = Path("
        f"{str(path)!r}); import_archive(path, 'a', progress=lambda p: print(p.done, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.kill()
    (part,) = (home / "datasets").iterdir()
    assert list(part.rglob("*.png"))
    assert own_datasets() == []
    young = import_archive(zipped(tmp_path / "b.zip", {"a.png": png_bytes()}), "b.zip")
    assert part.exists()  # it might still be at work
    os.utime(part, (time.time() - 3700,) * 2)
    imported = import_archive(path, "a.zip")
    assert not part.exists()
    assert imported.images == 1500
    assert set(own_datasets()) == {young.dataset, imported.dataset}


def test_two_imports_at_once_make_one_dataset(tmp_path: Path, home: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    gate = threading.Barrier(2, timeout=30)
    imports: list[Imported] = []

    def together(progress: Progress) -> None:
        if progress.stage == "Check the images" and progress.done == progress.total:
            gate.wait()  # both have unpacked, neither is in place

    def run() -> None:
        imports.append(import_archive(path, "a.zip", progress=together))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(imports) == 2
    assert imports[0] == imports[1]
    assert own_datasets() == [imports[0].dataset]
    assert len(list((home / "datasets").iterdir())) == 1
    assert len(load_dataset(imports[0].dataset)) == 6


def test_an_import_is_known_to_other_processes_without_another_look(tmp_path: Path) -> None:
    imported = import_archive(zipped(tmp_path / "a.zip", PETS), "a.zip")
    folders._known.clear()
    assert not needs_look(imported.dataset)


def test_a_folder_is_looked_through_where_it_is(tmp_path: Path, home: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 4, "dog": 4})
    imported = import_archive(root, "")
    assert imported == Imported(f"folder:{root}", 8, 2, ())
    assert not needs_look(imported.dataset)
    assert not (home / "datasets").exists()


def test_missing_things_are_reported(tmp_path: Path, home: Path) -> None:
    with pytest.raises(OptionError, match=f"{tmp_path}/none does not exist"):
        import_archive(tmp_path / "none", "")
    assert not home.exists()


def test_a_worker_answers_an_import(tmp_path: Path) -> None:
    path, reports = zipped(tmp_path / "a.zip", PETS), []
    request = ImportRequest(path, "a.zip")
    assert hash(request) == hash(ImportRequest(path, "a.zip"))
    imported = ANSWERS[ImportRequest](request, reports.append)
    assert pickle.loads(pickle.dumps(imported)) == import_archive(path, "a.zip")
    assert reports


def test_the_ratio_counts_for_the_archive_as_a_whole(tmp_path: Path, home: Path) -> None:
    flat = bytes(2**20)  # each alone may have any ratio
    path = zipped(tmp_path / "a.zip", {f"pets/cat/{k}.bmp": flat for k in range(17)})
    assert refusal(path, home) == "it unpacks to more than 200 times its size, which no images do"


@pytest.mark.parametrize(
    ("names", "encoding"),
    [
        (("A\u0308pfel", "ябл"), "utf-8"),
        (("りんご", "表"), "cp932"),
        (("Äpfel", "Öl"), "cp437"),
    ],
)
def test_names_are_read_as_their_maker_meant_them(
    names: tuple[str, str], encoding: str, tmp_path: Path
) -> None:
    files, data = {}, {}
    for n, name in enumerate(names):
        raw = name.encode(encoding)
        stand_in = bytes([65 + n]) * len(raw)
        data[stand_in] = raw
        files |= {f"{stand_in.decode()}/{k}.png": png_bytes(9 * n + k) for k in range(4)}
    path = zipped(tmp_path / "a.zip", files)
    content = path.read_bytes()
    for stand_in, raw in data.items():
        content = content.replace(stand_in + b"/", raw + b"/")
    path.write_bytes(content)
    imported = import_archive(path, "a.zip")
    assert set(dataset_spec(imported.dataset).class_names) == set(names)


def test_heic_is_named_in_folders_and_archives(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {"cat": 2, "dog": 2})
    (root / "cat" / "phone.HEIC").write_bytes(b"heic")
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.*")}
    imported = import_archive(zipped(tmp_path / "a.zip", files), "a.zip")
    expected = (
        "cat/phone.HEIC",
        "HEIC images are not read here: pip install pillow-heif, or convert them to JPEG or PNG",
    )
    assert imported.skipped == dataset_spec(f"folder:{root}").skipped == (expected,)
    alone = zipped(tmp_path / "b.zip", {"cat/1.heic": b"heic"})
    with pytest.raises(AssetError, match="HEIC images are not read"):
        import_archive(alone, "b.zip")
