#!/usr/bin/env bash
# Qdrant cannot read a key from a file. This script exports the keys to Qdrant's environment, which `docker inspect` does
# not show, and replaces itself with Qdrant. It skips ./entrypoint.sh, which exits on SIGTERM without waiting for Qdrant.
set -eu
for name in api_key read_only_api_key; do
    key=$(cat "/run/secrets/$name")
    # Qdrant treats an empty key as no key, and would be open to everyone.
    export "QDRANT__SERVICE__${name^^}=${key:?"secrets/$name is empty"}"
done
exec ./qdrant "$@"
