#!/bin/sh
# The same without larder.toml: the tools as a pipeline.
set -eu

key=$(hashctx -f Dockerfile .)
if ! imgtar load "$key"; then
    hashctx --manifest -f Dockerfile . > inputs.larder
    docker build -t example-site .
    # An edit during the build is never saved.
    if [ "$(hashctx -f Dockerfile .)" = "$key" ]; then
        imgtar save --manifest inputs.larder "$key" example-site
    fi
    rm inputs.larder
fi
