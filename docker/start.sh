#!/usr/bin/env bash
# Qdrant has no settings that name a file to read a key from. This puts the keys into its environment, where
# `docker inspect` does not see them, and becomes Qdrant. Not ./entrypoint.sh, which leaves on SIGTERM without waiting.
set -eu
for name in api_key read_only_api_key; do
    key=$(cat "/run/secrets/$name")
    # Qdrant takes an empty key for none, and would be open to everyone.
    export "QDRANT__SERVICE__${name^^}=${key:?"secrets/$name is empty"}"
done
exec ./qdrant "$@"
