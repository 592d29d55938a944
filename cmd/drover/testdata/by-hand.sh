#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# What a careful engineer does without drover: a Nomad upgrade with ssh, scp and curl, with the same steps and the same
# care. drover is measured beside it.
#
#   by-hand.sh SSH_CONFIG BINARY OLD_VERSION NEW_VERSION "s1=ADDRESS s2=ADDRESS ..." "c1=ADDRESS ..."
set -euo pipefail
config=$1 binary=$2 old=$3 new=$4 servers=$5 clients=$6
ssh="ssh -F $config -o ControlMaster=auto -o ControlPath=$(dirname "$config")/by-hand-%n -o ControlPersist=60"
scp="scp -q -F $config -o ControlPath=$(dirname "$config")/by-hand-%n"
declare -A address
for pair in $servers $clients; do address[${pair%%=*}]=${pair#*=}; done

say() { printf '%(%T)T %s\n' -1 "$*"; }
api() { curl -sf -m 8 "http://${address[$1]}:4646/v1/$2"; }
# until SECONDS WHAT COMMAND...: polls every 50 ms
until_() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || { echo "timed out waiting for $what" >&2; exit 1; }
		sleep 0.05
	done
}
names() { for pair in $1; do echo "${pair%%=*}"; done; }
server_names=$(names "$servers") client_names=$(names "$clients")
first=${server_names%%$'\n'*}

say "check: all healthy, all on $old"
api "$first" operator/autopilot/health | grep -q '"Healthy":true'
for host in $server_names $client_names; do
	$ssh "$host" /usr/local/bin/nomad version | grep -q "v$old"
done

say "snapshot"
curl -sf -m 30 "http://${address[$first]}:4646/v1/operator/snapshot" -o "$(dirname "$config")/by-hand.snap"
$ssh "$first" 'sudo tar -C /opt/nomad/server -cf - keystore' >"$(dirname "$config")/by-hand-keystore.tar"

say "stage on every host"
sum=$(sha256sum "$binary" | cut -d' ' -f1)
stage() {
	$scp "$binary" "$1:/var/tmp/nomad.new"
	$ssh "$1" "set -e
		echo '$sum  /var/tmp/nomad.new' | sha256sum -c --quiet
		sudo install -m 755 /var/tmp/nomad.new /usr/local/bin/nomad.new
		rm /var/tmp/nomad.new
		/usr/local/bin/nomad.new version | grep -q 'v$new'
		sudo /usr/local/bin/nomad.new config validate /etc/nomad.d >/dev/null"
}
pids=()
for host in $server_names $client_names; do stage "$host" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid"; done

swap() {
	$ssh "$1" 'set -e
		sudo ln -f /usr/local/bin/nomad /usr/local/bin/nomad.old
		sudo mv /usr/local/bin/nomad.new /usr/local/bin/nomad
		sudo systemctl restart nomad'
}
server_is_back() {
	api "$1" agent/self | grep -q "\"Version\":\"$new\"" &&
		api "$1" status/leader | grep -q : &&
		api "$1" operator/autopilot/health | grep -q '"Healthy":true' &&
		! api "$first" operator/autopilot/health | grep -q '"Healthy":false' &&
		api "$1" operator/autopilot/health | tr '{' '\n' | grep "\"Name\":\"$1\." | grep -q "\"Version\":\"$new\""
}
client_is_back() {
	api "$1" agent/self | grep -q "\"Version\":\"$new\"" && api "$1" agent/health | grep -q '"ok":true' &&
		api "$first" "nodes" | tr '{' '\n' | grep "\"Name\":\"$1\"" | grep -q "\"Version\":\"$new\""
}

leader=$(api "$first" status/leader | tr -d '"')
last=""
for host in $server_names; do
	[ "${leader%%:*}" = "${address[$host]}" ] && last=$host
done
for host in $(grep -vx "$last" <<<"$server_names") $last; do
	if [ "$host" = "$last" ]; then
		say "move leadership away from $host"
		curl -sf -m 8 -X PUT "http://${address[$first]}:4646/v1/operator/raft/transfer-leadership?address=$(
			for other in $server_names; do [ "$other" = "$host" ] || { echo "${address[$other]}:4647"; break; }; done)" >/dev/null || true
	fi
	say "server $host"
	swap "$host"
	until_ 120 "$host to be healthy on $new" server_is_back "$host"
done
for host in $client_names; do
	say "client $host"
	before=$(api "$first" "nodes" | tr '{' '\n' | grep -c '"Status":"ready"')
	swap "$host"
	until_ 120 "$host to be ready on $new" client_is_back "$host"
	[ "$(api "$first" nodes | tr '{' '\n' | grep -c '"Status":"ready"')" = "$before" ]
done
say "done"
