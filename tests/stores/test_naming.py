"""Which repositories name a blob, read from the store's file beside whoever writes it."""

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.database import open_database
from proxy.stores.grants import Member, SqliteMemberships
from proxy.stores.naming import repositories_naming

BASE, OWN, OTHER = (Digest.of(name) for name in (b"base", b"own", b"other"))


async def test_repositories_by_name_once(tmp_path):
    path = tmp_path / "sealgate.sqlite3"
    database = open_database(path)
    memberships = SqliteMemberships(database)
    for name, manifest, blobs in (("b", b"1", [BASE, OTHER]), ("a", b"2", [BASE, OWN]), ("a", b"3", [BASE])):
        members = [Member(one, 5, "application/octet-stream") for one in blobs]
        await memberships.add(Repository("x.test", name), Digest.of(manifest), None, members)
    named = repositories_naming(path, [BASE, OWN, Digest.of(b"nobody's")])
    database.close()
    assert named == {BASE: ["x.test/a", "x.test/b"], OWN: ["x.test/a"]}


def test_what_cannot_be_read_names_nothing(tmp_path):
    path = tmp_path / "sealgate.sqlite3"
    assert repositories_naming(path, [BASE]) == {}
    assert not path.exists()
    path.write_bytes(b"no database" * 1000)
    assert repositories_naming(path, [BASE]) == {}
