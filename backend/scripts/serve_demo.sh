#!/bin/sh
# Serve the demo's city, with a worker beside it, and print links to open it by in a browser.
#
# usage: serve_demo.sh PORT; make serve calls it from the checkout, in the demo's environment.

set -eu
port=$1
administrator=demo-admin@example.org
# One visitor does one thing after another, and is not to wait five seconds for what each changes.
export RECOMMENDATIONS_REALTIME_REFRESH_MIN_INTERVAL_SECONDS=1

no_city() {
    echo "no city yet; run make demo first" >&2
    exit 1
}

no_port() {
    other=8001
    [ "$port" != 8001 ] || other=8002
    echo "nothing can listen on port $port; choose another: make serve PORT=$other" >&2
    exit 1
}

random_password() {
    python -c 'import secrets; print(secrets.token_urlsafe())'
}

link() {
    printf '  %-42s%s\n' "$1" "http://localhost:$port/$2"
}

python -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1]))).close()' \
    "$port" 2>/dev/null || no_port
[ -d "$EVENTLINK_DATA_DIR" ] || no_city
eventlink migrate
people=$(python "$(dirname "$0")/demo_people.py") || no_city
newcomer=${people% *} regular=${people#* }
newcomer_token=$(eventlink token "$newcomer" 2>/dev/null) || newcomer_token=
regular_token=$(eventlink token "$regular" 2>/dev/null) || no_city

eventlink worker &
worker=$!
# Ctrl-C reaches the worker too; this is for a server that ends otherwise.
trap '{ kill $worker && wait $worker; } 2>/dev/null || true' EXIT

administrator_token=$(eventlink token $administrator 2>/dev/null) || {
    random_password | eventlink create-admin $administrator >/dev/null
    administrator_token=$(eventlink token $administrator)
}

echo
echo "Open in a browser; these links are good for 30 minutes:"
[ -z "$newcomer_token" ] ||
    link "as person $newcomer, who only named interests" "#token=$newcomer_token"
link "as person $regular, who goes out most" "#token=$regular_token"
link "as somebody new" ""
link "as an administrator" "admin#token=$administrator_token"
echo "or ask the API:"
echo "  curl -s -H \"Authorization: Bearer \$(make -s -C $(pwd -P) token)\" localhost:$port/api/recommendations"
echo

eventlink serve --port "$port"
