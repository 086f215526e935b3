"""Labelled lines of code: values that must be replaced, and lookalikes that must stay.

Everything is drawn from a seed when it is asked for, so no file holds what looks like a key.
"""

from __future__ import annotations

import base64
import json
import string
import uuid
from collections.abc import Callable
from random import Random
from typing import NamedTuple

_B62 = string.ascii_letters + string.digits
_URLSAFE = _B62 + "-_"


class Labelled(NamedTuple):
    """A line, the kind of value in it ("" for the ones that must stay), and the value."""

    line: str
    kind: str
    value: str


def _text(random: Random, size: int, alphabet: str = _B62) -> str:
    return "".join(random.choice(alphabet) for _ in range(size))


def _word(random: Random) -> str:
    return random.choice(
        ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "juniper"]
    )


def _email(random: Random) -> str:
    host = random.choice(("mailhost.org", "uni-koeln.de", "corp.co.uk", "startup.io", "web.dev"))
    return f"{_word(random)}.{_word(random)}{random.randrange(99)}@{host}"


def _ipv4(random: Random) -> str:
    first = random.choice((5, 23, 34, 45, 52, 62, 77, 81, 93, 104, 134, 151, 178, 185, 199, 212))
    return (
        f"{first}.{random.randrange(20, 250)}.{random.randrange(20, 250)}.{random.randrange(254)}"
    )


def _ipv6(random: Random) -> str:
    groups = [f"{random.randrange(4096, 65535):x}" for _ in range(6)]
    return f"2a0{random.randrange(1, 9)}:{':'.join(groups)}::1"[:38].replace("::1", ":1")


def _name(random: Random) -> str:
    given = random.choice(("Agnes", "Bruno", "Clara", "Dmitri", "Elena", "Farid", "Greta"))
    return f"{given} {random.choice(('Aalto', 'Berger', 'Costa', 'Duval', 'Eriksen', 'Fischer'))}"


def _jwt(random: Random) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": _text(random, 10), "iat": random.randrange(10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{_text(random, 43, _URLSAFE)}"


def _private_key(random: Random) -> str:
    body = base64.encodebytes(random.randbytes(600)).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----"


_Make = Callable[[Random], str]
_POSITIVE: dict[str, tuple[_Make, tuple[str, ...]]] = {
    "email": (_email, ('EMAIL = "{}"', "# contact: {} for access", "// {} wrote this", "<{}>")),
    "ipv4": (_ipv4, ('HOST = "{}"', "server = {}:8080", "curl http://{}/status", "allow {};")),
    "ipv6": (_ipv6, ('HOST = "{}"', "listen [{}]:443;", "ping6 {}")),
    "name": (_name, ("# Author: {}", " * @author {}", '__author__ = "{}"',
                     "// Copyright (c) 2019-2023 {}", "# Written by {}.")),
    "aws": (lambda r: "AKIA" + _text(r, 16, string.ascii_uppercase + "234567"),
            ('aws_access_key_id = "{}"', "AWS_ACCESS_KEY_ID={}", "id: {}")),
    "aws_secret": (lambda r: _text(r, 40, _B62 + "+/"),
                   ('aws_secret_access_key = "{}"', "AWS_SECRET_ACCESS_KEY={}")),
    "github": (lambda r: r.choice(("ghp_", "gho_", "ghs_")) + _text(r, 36),
               ('headers = {{"Authorization": "token {}"}}', "GITHUB_TOKEN={}", "push('{}')")),
    "gitlab": (lambda r: "glpat-" + _text(r, 20), ("PRIVATE-TOKEN: {}", 'x = "{}"')),
    "slack": (lambda r: f"xoxb-{r.randrange(10**11, 10**12)}-{_text(r, 24)}",
              ('client("{}")', "SLACK={}")),
    "stripe": (lambda r: "sk_" + "live_" + _text(r, 24), ('stripe.key = "{}"', "STRIPE={}")),
    "google": (lambda r: "AIza" + _text(r, 35, _URLSAFE[:-2]), ('key: "{}"', "maps?key={}")),
    "npm": (lambda r: "npm_" + _text(r, 36), ("//registry/:_authToken={}", 'T = "{}"')),
    "pypi": (lambda r: "pypi-" + "AgEIcHlwaS5vcmc" + _text(r, 90), ("password = {}", '"{}"')),
    "openai": (lambda r: "sk-" + "proj-" + _text(r, 48), ('OpenAI("{}")', "KEY={}")),
    "sendgrid": (lambda r: f"SG.{_text(r, 22)}.{_text(r, 43)}", ('send("{}")', "SENDGRID={}")),
    "jwt": (_jwt, ('cookie = "{}"', "Authorization: Bearer {}")),
    "private_key": (_private_key, ('KEY = """{}"""', "{}")),
    "password": (lambda r: _text(r, r.randrange(9, 18)),
                 ("postgres://app:{}@db.internal/shop", 'URL = "redis://:{}@cache:6379/0"')),
    "assigned": (lambda r: _text(r, r.randrange(16, 40)),
                 ('api_key = "{}"', '"client_secret": "{}",', "DB_PASSWORD={}", "token: '{}'",
                  'const SECRET_KEY = "{}";', "auth.setToken('token', '{}')[\"token\"] = '{}'")),
}  # fmt: skip
_NEGATIVE: dict[str, tuple[_Make, tuple[str, ...]]] = {
    "uuid": (lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)),
             ('id = "{}"', 'token_id = "{}"', '"session_key": "{}"')),
    "git sha": (lambda r: _text(r, 40, "0123456789abcdef"),
                ("commit {}", 'revision = "{}"', "uses: actions/checkout@{}")),
    "hash": (lambda r: _text(r, 64, "0123456789abcdef"),
             ('sha256 = "{}"', "sha256:{}", 'digest: "{}"')),
    "integrity": (lambda r: "sha512-" + base64.b64encode(r.randbytes(64)).decode(),
                  ('"integrity": "{}"', "integrity {}", 'token_hash = "{}"')),
    "version": (lambda r: f"{r.randrange(4)}.{r.randrange(30)}.{r.randrange(90)}.{r.randrange(9)}",
                ('version = "{}"', "pip install thing=={}", "# since version {}")),
    "small version": (lambda r: ".".join(str(r.randrange(12)) for _ in range(4)),
                      ('VSN = "{}"', "section {}", "v{}")),
    "private address": (lambda r: f"{r.choice(('10.0', '192.168', '172.16', '127.0'))}.0."
                        f"{r.randrange(255)}", ('HOST = "{}"', "bind {}:80")),
    "documentation address": (lambda r: f"203.0.113.{r.randrange(255)}", ('HOST = "{}"',)),
    "ipv6 of documents": (lambda r: f"2001:db8::{r.randrange(9999)}", ('HOST = "{}"',)),
    "scope": (lambda r: f"{_word(r)}::{_word(r)}::{_word(r)}", ("use {};", "{}(x);")),
    "time": (lambda r: f"2024-05-06 {r.randrange(24):02}:{r.randrange(60):02}:00", ('"{}"',)),
    "example mail": (lambda r: f"{_word(r)}@example.com", ('to = "{}"', "# {}")),
    "remote": (lambda r: f"git@github.com:{_word(r)}/{_word(r)}.git", ("git clone {}",)),
    "image": (lambda r: f"{_word(r)}@2x.png", ('"{}"', "url({})")),
    "package": (lambda r: f"{_word(r)}@{r.randrange(9)}.{r.randrange(9)}.0", ("npm i {}",)),
    "decorator": (lambda r: f"@{_word(r)}.{_word(r)}", ("{}", "    {}(1)")),
    "product": (lambda r: f"{_word(r)}@self.{_word(r)}", ("y = {}",)),
    "example key": (lambda r: "AKIA" + _text(r, 9, string.ascii_uppercase) + "EXAMPLE",
                    ('aws_access_key_id = "{}"',)),
    "test key": (lambda r: "sk_" + "test_" + _text(r, 24), ('stripe.key = "{}"', "STRIPE={}")),
    "placeholder": (lambda r: r.choice(("your-api-key-here-1", "changeme123456", "xxxxxxxxxxxx12",
                                        "<token-1234-here>", "${API_TOKEN_V2}", "dummy-secret-42")),
                    ('api_key = "{}"', 'password: "{}"')),
    "reference": (lambda r: f"{_word(r)}.{_word(r)}_key", ('token = "{}"', "secret: '{}'")),
    "class": (lambda r: f"{_word(r).title()}2{_word(r).title()}Tokenizer", ('token = "{}"',)),
    "link": (lambda r: f"https://docs.io/{_word(r)}/{r.randrange(99)}", ('token_url = "{}"',)),
    "file": (lambda r: f"{_word(r)}-{r.randrange(999)}.pem", ('private_key = "{}"',)),
    "lorem": (lambda r: " ".join(_word(r) for _ in range(5)), ('secret = "{}"', "# {}")),
    "holder": (lambda r: f"{_word(r).title()} Systems Inc.", ("# Copyright (c) 2020 {}",)),
    "weak address": (lambda r: f"mysql://{_word(r)}:password@localhost/{_word(r)}", ('"{}"',)),
    "object id": (lambda r: f"2.5.29.{r.randrange(40)}", ('OID = "{}"',)),
}  # fmt: skip


def positives(count: int = 24, seed: int = 7) -> list[Labelled]:
    """Draw `count` lines of every kind that must be replaced."""
    return _draw(_POSITIVE, count, seed, named=True)


def negatives(count: int = 16, seed: int = 8) -> list[Labelled]:
    """Draw `count` lines of everything that looks like it and must stay."""
    return _draw(_NEGATIVE, count, seed, named=False)


def _draw(
    makers: dict[str, tuple[_Make, tuple[str, ...]]], count: int, seed: int, *, named: bool
) -> list[Labelled]:
    random = Random(seed)
    drawn = []
    for kind, (make, templates) in makers.items():
        for turn in range(count):
            value = make(random)
            line = templates[turn % len(templates)].replace("{}", value)
            line = line.replace("{{", "{").replace("}}", "}") if value[:1] not in "$<" else line
            drawn.append(Labelled(line, kind if named else "", value))
    return drawn
