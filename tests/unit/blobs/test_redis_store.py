"""What is Redis's own about its blob store: lifetimes, addresses, a server that is full or gone."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import redis
from celery import Celery
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from autocelery._blobs.addresses import without_password
from autocelery._blobs.choose import open_store, store_url_for
from autocelery._blobs.redis import RedisStore, client_url
from autocelery.errors import ConfigurationError, StoreFull, StoreUnavailable
from tests.waiting import wait_for


@dataclass(frozen=True)
class Server:
    """A redis-server of the test's own: on a port and on a socket, with a password."""

    port: int
    socket: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://:secret@127.0.0.1:{self.port}/0"


def installed_server() -> str:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server or valkey-server is installed")
    return program


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, None)
    )
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture
def server() -> Iterator[Server]:
    program = installed_server()
    folder = Path(tempfile.mkdtemp(prefix="ac-"))
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(folder / "s"),
         "--requirepass", "secret", "--save", "", "--dir", str(folder), "--maxmemory", "4mb"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with redis.Redis(port=port, password="secret") as client:
            wait_for(lambda: answers(client), what="redis-server answers")
        yield Server(port, folder / "s", process)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_a_full_server_is_a_typed_error_and_what_is_there_stays_readable(server: Server) -> None:
    with closing(RedisStore(server.url)) as store:
        store.put({"a" * 64: b"here"})
        with pytest.raises(StoreFull) as raised:
            store.put({f"{number:064d}": b"x" * 2**20 for number in range(16)})
        assert "secret" not in raised.value.message
        assert "has no room (" in raised.value.message
        assert "maxmemory" in raised.value.message
        assert (
            "SET" not in raised.value.message
        )  # redis-py tells the command, with the beginning of what it stores
        assert store.get(["a" * 64]) == {"a" * 64: b"here"}


def test_a_server_that_dies_is_a_typed_error(server: Server) -> None:
    with closing(RedisStore(server.url)) as store:
        store.put({"a" * 64: b"here"})
        server.process.kill()
        server.process.wait()
        with pytest.raises(StoreUnavailable):
            store.get(["a" * 64])


def test_a_pooled_connection_that_the_server_closed_is_no_error(server: Server) -> None:
    with closing(RedisStore(server.url)) as store, redis.Redis(port=server.port, password="secret") as admin:
        store.put({"a" * 64: b"here"})
        admin.client_kill_filter(_type="normal", skipme=True)
        assert store.get(["a" * 64]) == {"a" * 64: b"here"}


@pytest.mark.parametrize("form", ["redis+socket://:secret@{}?virtual_host=1", "unix://:secret@{}?db=1"])
def test_a_unix_socket_is_reached_as_kombu_and_as_redis_py_write_it(server: Server, form: str) -> None:
    with closing(open_store(form.format(server.socket))) as store:
        store.put({"a" * 64: b"here"})
        assert "secret" not in store.url
    with redis.Redis(port=server.port, password="secret", db=1) as client:
        assert client.keys() == [b"autocelery:" + b"a" * 64]


def test_a_wrong_password_is_a_typed_error_that_does_not_show_it(server: Server) -> None:
    store = RedisStore(f"redis://:wr0ng@127.0.0.1:{server.port}/0")
    with closing(store), pytest.raises(StoreUnavailable) as raised:
        store.get(["a" * 64])
    assert "wr0ng" not in raised.value.message


def test_to_ask_for_a_blob_renews_its_lifetime(redis_url: str, redis_prefix: str) -> None:
    with closing(RedisStore(redis_url, prefix=redis_prefix, ttl=5000)) as store:
        store.put({"a" * 64: b"x"})
        with redis.Redis.from_url(redis_url) as client:
            client.expire(f"{redis_prefix}{'a' * 64}", 100)
            assert store.missing(["a" * 64]) == set()
            assert client.ttl(f"{redis_prefix}{'a' * 64}") > 4000


def test_prefixes_keep_stores_apart_also_with_glob_characters(redis_url: str, redis_prefix: str) -> None:
    one = RedisStore(redis_url, prefix=f"{redis_prefix}[a]*:")
    two = RedisStore(redis_url, prefix=f"{redis_prefix}a*:")
    with closing(one), closing(two):
        one.put({"b" * 64 + ".sig": b"1"})
        assert two.names(".sig") == []
        assert one.names(".sig") == ["b" * 64 + ".sig"]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("redis://:p@host:6379/3", "redis://:p@host:6379/3"),
        ("redis://host:6379//", "redis://host:6379"),
        ("valkey://host/1", "redis://host/1"),
        ("rediss://host/1?ssl_cert_reqs=CERT_NONE", "rediss://host/1?ssl_cert_reqs=none"),
        ("valkeys://host?ssl_ca_certs=/a.pem", "rediss://host?ssl_ca_certs=%2Fa.pem"),
        ("redis+socket:///run/r.sock?virtual_host=/2", "unix:///run/r.sock?db=2"),
        ("redis://host/0?health_check=1", "redis://host/0"),
    ],
)
def test_addresses_are_read_as_kombu_means_them(given: str, read: str) -> None:
    assert client_url(given) == read


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pw@h/0",
        "redis://me:pw@h:1/0",
        "redis+socket://:pw@/s?virtual_host=1",
        "unix:///s?password=pw",
    ],
)
def test_an_address_is_shown_without_its_password(url: str) -> None:
    assert "pw" not in without_password(url)


@pytest.mark.parametrize("url", ["amqp://h", "ftp://x", "relative/folder", "redis://host:port/0"])
def test_an_address_that_makes_no_sense_is_a_typed_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_store(url)


def test_a_missing_redis_package_is_an_error_that_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from autocelery._blobs import open_store\n"
        "from autocelery.errors import ConfigurationError\n"
        "try: open_store('redis://localhost/0')\n"
        "except ConfigurationError as error: assert 'autocelery[redis]' in str(error); print('said so')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "said so\n"


def test_a_server_with_tls_is_used_as_the_app_says(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    port, (cert, key) = free_port(), certificate
    process = subprocess.Popen(
        [installed_server(), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--dir", str(tmp_path), "--tls-cert-file", str(cert), "--tls-key-file", str(key),
         "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    app = Celery("tls", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False)
    try:
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(cert)}
        with closing(open_store(store_url_for(app))) as store:
            wait_for(
                lambda: not raises(StoreUnavailable, lambda: store.get(["a"])), what="the server answers"
            )
            store.put({"a": b"1"})
            assert store.get(["a"]) == {"a": b"1"}
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        with (
            closing(open_store(store_url_for(app))) as store,
            pytest.raises(StoreUnavailable, match="certificate"),
        ):
            store.get(["a"])
    finally:
        process.kill()
        process.wait()


def raises(kind: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False
