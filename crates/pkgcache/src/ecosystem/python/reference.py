"""Reads pages as pip does: of each page on stdin, the links that pip sees."""

import glob
import json
import os
import sys

try:
    import pip
except ImportError:
    # What `venv` would install.
    import ensurepip

    beside = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
    for folder in (beside, "/usr/share/python-wheels"):
        sys.path.extend(glob.glob(os.path.join(folder, "pip-*.whl")))

from pip._internal.index.collector import IndexContent, parse_links


def said(link):
    metadata = getattr(link, "metadata_file_data", None) or getattr(link, "dist_info_metadata", None)
    return {
        "url": link.url_without_fragment,
        "name": link.filename,
        "hash": [link.hash_name, link.hash],
        "requires_python": link.requires_python,
        "yanked": link.yanked_reason,
        "metadata": bool(metadata),
    }


def read(page):
    content = IndexContent(page["text"].encode(), page["type"], "utf-8", page["url"])
    return [said(link) for link in parse_links(content)]


json.dump([read(page) for page in json.load(sys.stdin)], sys.stdout)
