#!/bin/sh
# Brings the database up to date, and makes the tokens that the stack needs, once. Safe to run again.
#   prismq-setup FOLDER [NAME:ROLE ...]
# writes each token to FOLDER/NAME.token, readable by its owner and group.
set -eu
folder=$1
shift
umask 027

prismq migrate
for pair in "$@"; do
    name=${pair%%:*}
    role=${pair#*:}
    file=$folder/$name.token
    if [ -s "$file" ]; then
        continue
    fi
    # A token whose file is lost is of use to nobody: the database keeps a hash of it alone.
    prismq tokens revoke "$name" 2>/dev/null || true
    prismq tokens create "$name" --role "$role" >"$file.new"
    mv "$file.new" "$file"
done
