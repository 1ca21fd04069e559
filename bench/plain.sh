#!/usr/bin/env bash
# The comparison with kernel macvlan once more, by programs that this project did
# not write: iperf3 for TCP, trafgen (of netsniff-ng) for frames, ping for one
# request at a time. Both sides take turns on veth pairs of their own that are
# alike. Prints every turn, then medians and their ratio. Needs root and a kernel
# with macvlan; leaves nothing behind.
#
#     bench/plain.sh [path of umacvlan]        TURNS=5 SECONDS_EACH=3
set -euo pipefail
export LC_ALL=C
turns=${TURNS:-5} last=${SECONDS_EACH:-3}
dir=$(mktemp -d)
umacvlan=${1:-$dir/umacvlan}
sides=(kernel umacvlan)

for need in ip iperf3 trafgen ping awk; do
  command -v $need >/dev/null || { echo "needs $need: apt-get install iproute2 iperf3 netsniff-ng iputils-ping" >&2; exit 1; }
done
[ $# -gt 0 ] || (cd "$(dirname "$0")/.." && go build -o "$umacvlan" ./cmd/umacvlan)

# ns SIDE PLACE is a namespace: the wire's, the host's or the vmac's.
ns() { echo "plain$$-$1-$2"; }
in_ns() { ip netns exec "$(ns "$1" "$2")" "${@:3}"; }

# spawn SIDE PLACE PROGRAM… starts one in the background, in a process group of its
# own, as some have children.
running=()
spawn() {
  ip netns exec "$(ns "$1" "$2")" setsid "${@:3}" &
  running+=($!)
}

# stop ends the one that was started last.
stop() {
  { kill -- "-${running[-1]}" && wait "${running[-1]}"; } 2>/dev/null || true
  unset 'running[-1]'
}

cleanup() {
  while [ ${#running[@]} -gt 0 ]; do stop; done
  for s in "${sides[@]}"; do for p in wire host vmac; do ip netns del "$(ns "$s" $p)" 2>/dev/null || true; done; done
  rm -rf "$dir"
}
trap cleanup EXIT

for s in "${sides[@]}"; do
  for p in wire host vmac; do ip netns add "$(ns "$s" $p)"; in_ns "$s" $p ip link set lo up; done
  in_ns "$s" wire ip link add wire type veth peer name parent netns "$(ns "$s" host)"
  in_ns "$s" wire ip addr add 10.9.9.1/24 dev wire
  in_ns "$s" wire ip link set wire up
  in_ns "$s" host ip link set parent up
  add=(link add link parent name vmac0 netns "$(ns "$s" vmac)" address 02:00:00:00:09:02 type macvlan mode bridge)
  if [ "$s" = kernel ]; then
    in_ns "$s" host ip "${add[@]}"
  else
    spawn "$s" host "$umacvlan" daemon --socket "$dir/socket" --state "" >"$dir/log" 2>&1
    for _ in $(seq 100); do [ -S "$dir/socket" ] && break; sleep 0.05; done
    in_ns "$s" host "$umacvlan" --socket "$dir/socket" "${add[@]}"
  fi
  in_ns "$s" vmac ip addr add 10.9.9.2/24 dev vmac0
  in_ns "$s" vmac ip link set vmac0 up
  in_ns "$s" wire ping -q -c 3 -i 0.2 10.9.9.2 >/dev/null
done

# tcp SIDE FROM TO ADDRESS [STREAMS] prints Gbit/s, as the receiver counts them.
tcp() {
  spawn "$1" "$3" iperf3 -s >/dev/null 2>&1
  sleep 0.3
  in_ns "$1" "$2" iperf3 -c "$4" -t "$last" -O 1 -P "${5:-1}" -f m |
    awk '/receiver/ { for (i = 1; i < NF; i++) if ($(i+1) == "Mbits/sec") rate = $i } END { print rate / 1000 }'
  stop
}

counter() { in_ns "$1" "$2" cat "/sys/class/net/$3/statistics/rx_packets"; }

# frames SIDE FROM DEVICE DESTINATION TO DEVICE prints thousands of frames a second
# that the receiving device counts, 60 bytes each.
frames() {
  local from to t0 t1
  spawn "$1" "$2" trafgen --dev "$3" --cpus 1 -n 0 "{ eth(daddr=$4, saddr=$5, type=0x88b5), fill(0, 46) }" >/dev/null 2>&1
  sleep 1
  from=$(counter "$1" "$6" "$7") t0=$(date +%s%N)
  sleep "$last"
  to=$(counter "$1" "$6" "$7") t1=$(date +%s%N)
  stop
  awk "BEGIN { print ($to - $from) * 1e6 / ($t1 - $t0) }"
}

mac() { in_ns "$1" "$2" cat "/sys/class/net/$3/address"; }

# turn WORK SIDE prints one figure.
turn() {
  case $1 in
    tcp-in) tcp "$2" wire vmac 10.9.9.2 ;;
    tcp-out) tcp "$2" vmac wire 10.9.9.1 ;;
    tcp-in-8) tcp "$2" wire vmac 10.9.9.2 8 ;;
    frames-in) frames "$2" wire wire "$(mac "$2" vmac vmac0)" "$(mac "$2" wire wire)" vmac vmac0 ;;
    frames-out) frames "$2" vmac vmac0 "$(mac "$2" wire wire)" "$(mac "$2" vmac vmac0)" wire wire ;;
    ping) in_ns "$2" wire ping -q -c 300 -i 0.01 10.9.9.2 | awk -F/ '/^rtt/ { print $5 * 1000 }' ;;
  esac
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR+1)/2] : (v[NR/2] + v[NR/2+1]) / 2 }'; }

for work in tcp-in:Gbit/s tcp-out:Gbit/s tcp-in-8:Gbit/s frames-in:kframes/s frames-out:kframes/s ping:µs; do
  name=${work%%:*}
  for ((i = 0; i < turns; i++)); do
    for s in "${sides[@]}"; do
      turn "$name" "$s" >>"$dir/$name-$s"
      printf '\r%-12s turn %d of %d, %s      ' "$name" $((i + 1)) "$turns" "$s" >&2
    done
  done
  printf '\r%50s\r' '' >&2
  awk -v name="$name" -v unit="${work#*:}" -v k="$(median <"$dir/$name-kernel")" -v u="$(median <"$dir/$name-umacvlan")" \
    'BEGIN { printf "%-12s kernel %8.1f   umacvlan %8.1f %-10s ratio %.2f\n", name, k, u, unit, u / k }'
done
