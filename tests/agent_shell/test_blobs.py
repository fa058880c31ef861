from __future__ import annotations

import pytest
from shell_fakes import BlobShelf, toy_bundle, toy_samples

from circinus.bundle import digest_of
from circinus.errors import BadDigest, InvalidInput, NotFound
from circinus.model.device import Digest
from edge_agent.blobs import Blobs


@pytest.fixture
def bundle(tmp_path):
    return toy_bundle(tmp_path / "toy")


def blobs_over(tmp_path, shelf):
    blobs = Blobs(tmp_path / "state", shelf)
    blobs.prepare()
    return blobs


async def test_a_bundle_is_fetched_once_and_extracted(tmp_path, bundle):
    shelf = BlobShelf(bundle)
    blobs = blobs_over(tmp_path, shelf)
    digest = digest_of(bundle)
    with pytest.raises(NotFound):
        blobs.bundle_path(digest)
    folder = await blobs.bundle(digest)
    assert (folder / "toy.py").is_file()
    assert await blobs.bundle(digest) == folder == blobs.bundle_path(digest)
    assert shelf.fetched == [digest]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


async def test_a_sample_set_is_fetched_once(tmp_path):
    samples = toy_samples(2)
    shelf = BlobShelf(samples)
    blobs = blobs_over(tmp_path, shelf)
    assert (await blobs.sample_set(digest_of(samples))).read_bytes() == samples
    await blobs.sample_set(digest_of(samples))
    assert len(shelf.fetched) == 1


async def test_only_the_latest_sample_sets_stay(tmp_path):
    sets = [toy_samples(1) + bytes([0x0A, 1, number]) for number in range(20)]
    blobs = blobs_over(tmp_path, BlobShelf(*sets))
    for data in sets:
        await blobs.sample_set(digest_of(data))
    assert len(list((tmp_path / "state" / "samples").iterdir())) == 16


async def test_content_that_is_not_what_its_digest_says_is_refused(tmp_path, bundle):
    shelf = BlobShelf()
    wrong = Digest("sha256:" + "0" * 64)
    shelf.blobs[wrong] = bundle
    blobs = blobs_over(tmp_path, shelf)
    with pytest.raises(BadDigest):
        await blobs.bundle(wrong)
    with pytest.raises(BadDigest):
        await blobs.sample_set(wrong)
    assert list((tmp_path / "state" / "bundles").iterdir()) == []
    assert list((tmp_path / "state" / "samples").iterdir()) == []


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "0" * 64, "sha256:" + "A" * 64])
async def test_what_is_no_digest_never_becomes_a_path(tmp_path, digest):
    blobs = blobs_over(tmp_path, BlobShelf())
    with pytest.raises(InvalidInput):
        await blobs.bundle(Digest(digest))
    with pytest.raises(InvalidInput):
        blobs.bundle_path(Digest(digest))


async def test_a_blob_that_is_no_bundle_is_refused_and_leaves_nothing(tmp_path):
    blobs = blobs_over(tmp_path, BlobShelf(b"no archive"))
    with pytest.raises(InvalidInput):
        await blobs.bundle(digest_of(b"no archive"))
    assert list((tmp_path / "state" / "bundles").iterdir()) == []


def test_what_a_crash_left_is_removed(tmp_path):
    leftover = tmp_path / "state" / "bundles" / "tmp-half"
    leftover.mkdir(parents=True)
    (leftover / "file").touch()
    blobs_over(tmp_path, BlobShelf())
    assert not leftover.exists()
