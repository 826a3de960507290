#!/usr/bin/env python3
"""Stands for Ollama: some of its commands, the folders that it keeps models in, and the order of its
server's requests."""
import hashlib, json, os, pathlib, shutil, sys, urllib.request

ROOT = pathlib.Path(os.environ.get("OLLAMA_MODELS", "/root/.ollama/models"))
PARTS = 16
AGENT = {"User-Agent": "ollama/0.12.0 (amd64 linux) Go/go1.24.1"}


def place(name):
    *before, last = name.split("/")
    model, _, tag = last.partition(":")
    host = before[0] if len(before) > 1 else "ollama.example"
    return host, before[-1] if before else "library", model, tag or "latest"


def manifest_of(name):
    return ROOT.joinpath("manifests", *place(name))


def ask(method, url, **fields):
    return urllib.request.urlopen(urllib.request.Request(url, method=method, headers={**AGENT, **fields}))


def blob(base, digest):
    url = f"{base}/blobs/{digest}"
    with ask("HEAD", url) as head:
        size = int(head.headers["Content-Length"])
    whole = ask("GET", url)
    at = whole.headers["Location"]
    whole.close()
    part = -(-size // PARTS)
    ranges = [(first, min(first + part, size) - 1) for first in range(0, size, part)]
    bytes_ = b"".join(ask("GET", at, Range=f"bytes={first}-{last}").read() for first, last in ranges)
    if "sha256:" + hashlib.sha256(bytes_).hexdigest() != digest:
        sys.exit(f"digest mismatch: {digest}")
    path = ROOT / "blobs" / digest.replace(":", "-")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes_)


def pull(name, scheme):
    host, space, model, tag = place(name)
    base = f"{scheme}://{host}/v2/{space}/{model}"
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = ask("GET", f"{base}/manifests/{tag}", Accept=kind).read()
    told = json.loads(manifest)
    for layer in [*told["layers"], told["config"]]:
        blob(base, layer["digest"])
    path = manifest_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest)


def list_all():
    for path in sorted(ROOT.glob("manifests/*/*/*/*")):
        host, space, model, tag = path.parts[-4:]
        before = "" if (host, space) == ("ollama.example", "library") else f"{host}/{space}/"
        sizes = [layer["size"] for layer in json.loads(path.read_text())["layers"]]
        print(f"{before}{model}:{tag} {sum(sizes)}")


def remove(path):
    path.unlink()
    while (path := path.parent) != ROOT / "manifests" and not any(path.iterdir()):
        path.rmdir()


command, *words = sys.argv[1:]
names = [word for word in words if not word.startswith("-")]
match command:
    case "pull":
        try:
            pull(names[0], "http" if "--insecure" in words else "https")
        except OSError as error:
            sys.exit(f"Error: pull model manifest: {error}")
    case "cp":
        manifest_of(names[1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest_of(names[0]), manifest_of(names[1]))
    case "rm":
        remove(manifest_of(names[0]))
    case "list":
        list_all()
    case "serve":
        pass
