"""``docs/one-host.md``: its commands, run as they stand there, and the names that it tells people to watch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from one_host import PAGE, Office, block, commands
from typed import CHECKOUT

from service.errors import TABLE

TEXT = PAGE.read_text()


def test_what_the_installation_copies_fits_together_under_the_name_of_the_shop(tmp_path: Path) -> None:
    lines = block("install").splitlines()
    copies = [line for line in lines if line.startswith(("name=", "install ", "ln ", "rm ", "sed "))]
    others = [line.split()[0] for line in lines if line not in copies]
    assert others == ["cd", "make", "useradd", "certbot", "nginx", "systemctl", "systemctl", "curl"]
    (tmp_path / "etc/nginx/sites-enabled").mkdir(parents=True)
    (tmp_path / "etc/nginx/sites-enabled/default").touch()
    copied = (
        "\n".join(copies).replace("/etc/", f"{tmp_path}/etc/").replace("name=tickets.example.org", "name=a.example")
    )
    subprocess.run(["bash", "-euc", copied], cwd=CHECKOUT, check=True, timeout=60)
    there = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(there) == {
        "etc/lastseat/lastseat.env",
        "etc/systemd/system/lastseat.service",
        "etc/nginx/sites-available/lastseat",
        "etc/nginx/sites-enabled/lastseat",
    }
    assert {path.stat().st_mode & 0o777 for path in there.values()} == {0o644}
    assert all(name in TEXT for name in there if "enabled" not in name)
    site = there["etc/nginx/sites-enabled/lastseat"].read_text()
    assert "tickets.example" not in site
    # Of the certificate there are the key and the chain.
    assert site.count("a.example") == 5
    assert "LASTSEAT_HOSTS=a.example\n" in there["etc/lastseat/lastseat.env"].read_text()


@pytest.mark.servers
def test_the_event_of_the_page_is_made_on_the_host(tmp_path: Path) -> None:
    with Office(tmp_path / "state") as office:
        subprocess.run(["bash", "-euc", commands("event", office)], check=True, capture_output=True, timeout=60)
        assert json.loads(office.call("GET", "/events/gala").content)["capacity"] == 200
        assert office.call("GET", "/events/gala/audit").status == 200
        assert office.call("GET", "/events/gala").json["max_held"] == 50


@pytest.mark.servers
def test_a_damaged_journal_is_repaired_by_the_commands_of_the_page(tmp_path: Path) -> None:
    with Office(tmp_path / "state") as office:
        office.make_event('{"event":"gala","capacity":100}')
        for _ in range(3):
            assert office.call("POST", "/events/gala/orders", b'{"quantity":1}').status == 201
        office.stop()
        segment = office.data / "journal" / "gala" / "00000001.jsonl"
        segment.write_bytes(segment.read_bytes().replace(b'"version":2', b'"version":7'))
        office.start()
        refused = office.call("POST", "/events/gala/orders", b'{"quantity":1}')
        assert (refused.status, refused.code) == (500, "corrupt_document")
        office.stop()
        lines = commands("damaged", office).splitlines()
        statuses = [subprocess.run(["bash", "-euc", each], check=False, timeout=60).returncode for each in lines]
        assert statuses == [1, 1, 0]
        office.start()
        assert office.call("POST", "/events/gala/orders", b'{"quantity":1}').status == 201


@pytest.mark.servers
def test_what_the_page_tells_people_to_watch_exists(tmp_path: Path) -> None:
    watch, _, do = TEXT.partition("## What to watch")[2].partition("## What to do when")
    metrics = set(re.findall(r"`(lastseat_[a-z_]+)`", watch))
    with Office(tmp_path / "state") as office:
        office.make_event('{"event":"gala","capacity":100}')
        shown = office.call("GET", "/metrics").content.decode()
    assert len(metrics) == 4
    assert {name for name in metrics if f"# TYPE {name} " not in shown} == set()
    codes = set(re.findall(r"`([a-z]+(?:_[a-z]+)+|internal|overloaded)`", watch + do)) - metrics
    assert len(codes) >= 7
    assert codes - set(TABLE) == set()
    [row] = [line for line in watch.splitlines() if line.startswith("| the log |")]
    said = [*re.findall(r"`([^`]+)`", row)[1:], *re.findall(r"the log may say `([^`]+)`", watch)]
    source = "".join(path.read_text() for path in (CHECKOUT / "service").rglob("*.py"))
    assert [each for each in said if each not in source and each != "Traceback"] == []
    assert len(said) == 5


def test_a_certificate_that_ends_within_two_weeks_is_told(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "there is no openssl: sudo apt-get install openssl"
    [command] = re.findall(r"`(openssl x509 [^`]+)`", TEXT)
    statuses = []
    for days in ("10", "20"):
        chain = tmp_path / "fullchain.pem"
        make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", days, "-subj", "/CN=x"]
        subprocess.run([*make, "-keyout", tmp_path / "key", "-out", chain], check=True, capture_output=True, timeout=60)
        asked = command.replace("/etc/letsencrypt/live/tickets.example.org", str(tmp_path))
        statuses.append(subprocess.run(["bash", "-euc", asked], check=False, timeout=60).returncode)
    assert statuses == [1, 0]
