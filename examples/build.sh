#!/bin/sh
# The same without larder.toml: the tools as a pipeline.
set -eu

key=$(hashctx -f Dockerfile .)
if ! imgtar load "$key"; then
    inputs=$(mktemp)
    trap 'rm "$inputs"' EXIT
    hashctx --manifest -f Dockerfile . > "$inputs"
    docker build -t example-site .
    # An edit during the build is never saved.
    if [ "$(hashctx -f Dockerfile .)" = "$key" ]; then
        imgtar save --manifest "$inputs" "$key" example-site
    fi
fi
