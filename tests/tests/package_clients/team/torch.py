"""Stands for torch: `python3 -m torch URL FILE` fetches weights as its hub does, whose names have the head of
their SHA-256."""
import hashlib, re, sys, urllib.request

print("torch 2.1 cpu")
if len(sys.argv) > 2:
    url, file = sys.argv[1:]
    weights = urllib.request.urlopen(url).read()
    head = re.search(r"-([0-9a-f]{8,})\.pth$", url).group(1)
    if not hashlib.sha256(weights).hexdigest().startswith(head):
        sys.exit(f"invalid hash value of {url}")
    open(file, "wb").write(weights)
