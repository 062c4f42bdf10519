"""Fixtures: one MariaDB a test worker, one Redis and one cluster a test."""

import os
import re
import shutil

import pytest

from harness import flash_cut
from harness.cluster import Cluster
from harness.stores import MariaDB, Redis
from harness.webhooks import Inbox


@pytest.fixture(scope="session")
def mariadb_installed(tmp_path_factory):
    """A freshly installed data folder, made once a worker; each server gets a copy."""
    store = MariaDB(str(tmp_path_factory.mktemp("mariadb")))
    store.install()
    return store.data


@pytest.fixture(scope="session")
def shared_mariadb(tmp_path_factory, mariadb_installed):
    store = MariaDB(str(tmp_path_factory.mktemp("mariadb-shared")))
    shutil.copytree(mariadb_installed, store.data)
    store.start()
    yield store
    store.stop()


@pytest.fixture
def own_mariadb(tmp_path, mariadb_installed):
    """A server of its own, for tests that kill it."""
    store = MariaDB(str(tmp_path / "mariadb"))
    shutil.copytree(mariadb_installed, store.data)
    store.start()
    yield store
    store.stop()


@pytest.fixture
def redis(tmp_path):
    store = Redis(str(tmp_path / "redis"))
    store.start()
    yield store
    store.stop()


def _cluster(tmp_path, redis, mariadb, name):
    database = "hf_" + re.sub(r"[^a-z0-9]", "_", name.lower())[:50] + f"_{os.getpid()}"
    mariadb.query(f"DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database}")
    folder = tmp_path / "cluster"
    folder.mkdir()
    return Cluster(str(folder), redis, mariadb, database)


@pytest.fixture
def new_cluster(tmp_path, redis, shared_mariadb, request):
    """A cluster not started yet, its MariaDB shared with other tests."""
    cluster = _cluster(tmp_path, redis, shared_mariadb, request.node.name)
    yield cluster
    cluster.stop()


@pytest.fixture
def fragile_cluster(tmp_path, redis, own_mariadb, request):
    """A cluster not started yet, with a MariaDB of its own that may be killed."""
    cluster = _cluster(tmp_path, redis, own_mariadb, request.node.name)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(new_cluster):
    """One process of each role, and app 7."""
    new_cluster.add_app(7)
    return new_cluster.start()


@pytest.fixture
def app(cluster):
    return cluster.apps[7]


@pytest.fixture
def saver(new_cluster):
    """The store alone. A busy machine, on which thousands of commands take a second, is no slow Redis."""
    saver = new_cluster.add("saver", redis__timeout="60s")
    saver.wait_ready()
    return saver


@pytest.fixture
def lasting(new_cluster):
    """A cluster whose sessions linger for longer than any test."""
    new_cluster.add_app(7)
    return new_cluster.start(settings=flash_cut.LONG)


@pytest.fixture
def inbox():
    """Makes callback servers."""
    servers = []

    def make(answer=None):
        servers.append(Inbox(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
