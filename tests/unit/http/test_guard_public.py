"""Ordinary public names are dialled at the very addresses that the name server gave; the fence catches the dial."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import AsyncIterator

import pytest

from imagemill.domain.failures import FailureCode, PipelineError
from imagemill.domain.sources import validate_url
from imagemill.http import Deadline, GuardedClient, HttpSettings
from tests.support.fence import Fence

TLS = ssl.create_default_context()

_LISTED = """
example.com www.example.com images.example.com img.example.com cdn.example.com static.example.com media.example.com
a.example b.example i.example.net x1.example.net img1.example.net img02.example.net s3.eu-west-1.example.net
bucket.s3.example.net storage.example.org upload.example.org pictures.example.org photos.example.org shop.example.org
a-b-c.example.com under_score.example.com 3d-prints.example.com 123.example.com 4.example.org 0x7f.example.com
1e3.example.net 127-0-0-1.example.com 10.0.0.5.example.com 127.0.0.1.nip.example 192.168.1.1.example.org
localhost.example.com internal.example.com intranet.example.org metadata.example.net private.example.net
router.example.org lan.example.com local.example.net test.example.net invalid.example.com home.example.org
xn--mnchen-3ya.example xn--fiqs8s.example xn--bcher-kva.example.com xn--e1afmkfd.example.org xn--wgv71a.example.net
IMAGES.EXAMPLE.COM Mixed.Case.Example dot-at-the-end.example.com. www.example.org.
very-long-label-of-sixty-three-characters-is-still-a-good-name1.example.com
a.b.c.d.e.f.g.h.example.com deep.down.in.many.levels.example.org
img-a.example img-b.example img-c.example img-d.example img-e.example img-f.example img-g.example img-h.example
shop1.example shop2.example shop3.example shop4.example shop5.example shop6.example shop7.example shop8.example
news.example blog.example wiki.example maps.example art.example museum.example travel.example food.example
cats.example dogs.example birds.example fish.example trees.example flowers.example cars.example boats.example
archive.example library.example press.example sports.example music.example films.example games.example toys.example
zeitung.example foto.example bilder.example bucket-1.example.net bucket_2.example.net
wow.example lake.example hill.example
"""
_HOSTS = _LISTED.split()

_ADDRESSES = [
    ["8.8.8.8"],
    ["1.1.1.1", "1.0.0.1"],
    ["2606:4700::1111"],
    ["151.101.1.140", "2a04:4e42::396"],
    ["93.184.215.14"],
    ["64:ff9b::808:808"],
    ["198.17.0.1", "172.15.0.1"],
    ["2a00:1450:4001:82a::200e", "142.250.185.78"],
    ["223.255.255.254"],
    ["192.0.1.1"],
    ["100.63.0.1", "100.128.0.1"],
    ["11.0.0.1"],
    ["2620:0:ccc::2", "2001:4860:4860::8844"],
]

PUBLIC = list(zip(_HOSTS, itertools.cycle(_ADDRESSES), strict=False))


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(HttpSettings(), tls=TLS) as client:
        yield client


def test_there_are_a_hundred_of_them() -> None:
    assert len(set(_HOSTS)) == len(_HOSTS) >= 100


@pytest.mark.parametrize(("host", "addresses"), PUBLIC, ids=_HOSTS)
async def test_an_ordinary_public_name_is_dialled(
    client: GuardedClient, fence: Fence, host: str, addresses: list[str]
) -> None:
    name = host.lower()
    fence.names[name] = [addresses]

    for url, port in ((f"https://{host}/a.jpg", 443), (f"http://{host}:8080/a.jpg?b=1", 8080)):
        with pytest.raises(PipelineError) as caught:
            async with Deadline(10.0) as deadline, client.get(validate_url(url), deadline):
                pass

        assert caught.value.failure.code is FailureCode.CONNECTION_FAILED
        # aiohttp comes back to an address when it was the last of several that failed.
        assert set(fence.dialled) == {(address, port) for address in addresses}
        fence.dialled.clear()
    assert set(fence.lookups) == {name}


@pytest.mark.parametrize("host", ["münchen.example", "Bücher.example", "例え.example", "image。example。com"])
async def test_a_name_in_letters_of_its_own_is_looked_up_encoded(
    client: GuardedClient, fence: Fence, host: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        async with Deadline(10.0) as deadline, client.get(validate_url(f"http://{host}/a.jpg"), deadline):
            pass

    assert caught.value.failure.code is FailureCode.DNS_FAILED
    assert all(name.isascii() for name in fence.lookups)
    assert fence.dialled == []


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "[2606:4700::1111]", "[64:ff9b::808:808]", "[2002:808:808::1]"]
)
async def test_a_public_address_is_dialled_without_a_lookup(client: GuardedClient, fence: Fence, address: str) -> None:
    with pytest.raises(PipelineError) as caught:
        async with Deadline(10.0) as deadline, client.get(f"http://{address}/a.jpg", deadline):
            pass

    assert caught.value.failure.code is FailureCode.CONNECTION_FAILED
    assert fence.dialled == [(address.strip("[]"), 80)]
    assert fence.lookups == []
